package robust

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestVolumesSurviveKills makes, mounts, writes, grows, removes, restores and
// imports volumes with several workers, while mos-lvm, mkfs and dockerd are killed
// and once the power goes. Afterwards each volume is whole or absent, what was
// synced is there, and nothing is left on the host. MOS_ROUNDS is the number of
// kills.
func TestVolumesSurviveKills(t *testing.T) {
	engines := rig.Engines()
	s := seed(t)
	if !full() {
		engines = engines[s%2 : s%2+1] // each gets its turn; the long form does both
	}
	for _, engine := range engines {
		t.Run(string(engine), func(t *testing.T) {
			h := lab.NewVolumes(t, rig.Config{Engine: engine, LiveRestore: true}).Hosts[0]
			b := &siege{t: t, h: h, seed: s, rounds: number(t, "MOS_ROUNDS", 15), synced: map[string]files{}}
			b.run()
			b.whole()
			b.empty()
		})
	}
}

// siege is one run.
type siege struct {
	t      *testing.T
	h      *lab.Host
	seed   uint64
	rounds int
	stream []byte // an exported volume

	over   atomic.Bool
	faults atomic.Int64 // beginnings and ends; an odd number is amid one
	killed sync.Map     // how often, by victim
	failed atomic.Int64
	did    atomic.Int64

	mu     sync.Mutex       // guards all below
	synced map[string]files // what must be in a volume, by its name
	unsaid []string         // errors that no kill explains
}

// halfStarted is the process of a container before its own program runs.
const halfStarted = "runc:[2:INIT]"

// files is the SHA-256 of files whose writer saw the end of its fsync.
type files map[string]string

func (b *siege) run() {
	b.prepare()
	start := time.Now()
	var working sync.WaitGroup
	for i := range 2 {
		working.Go(func() { b.writer(fmt.Sprintf("w%d", i), chance(b.seed+uint64(i)+1)) })
		working.Go(func() { b.caller(fmt.Sprintf("q%d", i), chance(b.seed+uint64(i)+100)) })
	}
	b.kill()
	b.over.Store(true)
	working.Wait()
	counts := ""
	b.killed.Range(func(who, n any) bool { counts += fmt.Sprintf(" %v %d", who, n); return true })
	b.t.Logf("MOS_SEED=%d: kills:%s, in %.0f s; %d acts on volumes went well, %d failed and were repeated or let be",
		b.seed, counts, time.Since(start).Seconds(), b.did.Load(), b.failed.Load())
	for _, u := range b.unsaid {
		b.t.Error(u)
	}
}

// prepare exports a small volume.
func (b *siege) prepare() {
	b.h.Create("origin", "size=16m")
	sum := b.h.D("run", "--rm", "-v", "origin:/data", rig.Image, "sh", "-c", "dd if=/dev/urandom of=/data/f0 bs=64k count=16 2>/dev/null; sync; sha256sum </data/f0")
	b.synced["origin"] = files{"f0": strings.Fields(sum)[0]}
	testx.Eventually(b.t, 20*time.Second, b.h.Idle)
	var out strings.Builder
	if _, err := b.h.Volumes.Export(b.t.Context(), "origin", &out); err != nil {
		b.t.Fatal(err)
	}
	b.stream = []byte(out.String())
}

// kill ends somebody so many times.
func (b *siege) kill() {
	r := chance(b.seed)
	for n := range b.rounds {
		time.Sleep(time.Duration(100+r.IntN(1100)) * time.Millisecond)
		b.faults.Add(1)
		who, err := lab.Lvm, error(nil)
		switch dice := r.IntN(10); {
		case n%50 == min(b.rounds, 50)/2:
			who, err = "power", b.h.Restart(b.t.Context())
		case dice < 2:
			who = "mkfs"
			if _, err := b.h.Exec(b.t.Context(), "sh", "-c", "for i in $(seq 200); do pkill -9 -x mkfs.ext4 && exit; sleep 0.005; done; exit 1"); err != nil {
				who = "missed-mkfs"
			}
		case dice < 4:
			who = rig.Dockerd
			err = b.again(who, 0)
		default:
			err = b.again(who, time.Duration(r.IntN(400))*time.Millisecond)
		}
		b.faults.Add(1)
		if err != nil {
			b.t.Error(who, err)
			return
		}
		v, _ := b.killed.LoadOrStore(who, 0)
		b.killed.Store(who, v.(int)+1)
	}
}

func (b *siege) again(daemon string, down time.Duration) error {
	if err := b.h.Kill9(daemon); err != nil {
		return err
	}
	time.Sleep(down)
	return b.h.Start(daemon)
}

// writer is somebody who has volumes through docker: each is made, written by
// several containers, perhaps grown, removed and restored, and kept.
func (b *siege) writer(me string, r *rand.Rand) {
	for n := 0; !b.over.Load(); n++ {
		name := fmt.Sprintf("%s-%d", me, n)
		if !b.docker("volume", "create", "-d", lab.Lvm, "-o", "size=16m", name) {
			continue
		}
		have := files{}
		for k := range 1 + r.IntN(3) {
			b.write(name, fmt.Sprintf("f%d", k), have)
			if r.IntN(3) == 0 {
				_, err := b.h.Volumes.Resize(b.t.Context(), api.ResizeRequest{Volume: name, Size: "+4m", AtNextMount: true})
				b.note("resize "+name, err)
			}
		}
		switch r.IntN(3) {
		case 0: // removed, and back under another name
			if b.docker("volume", "rm", name) && b.restore(name, name+"-back") {
				name += "-back"
				b.write(name, "f9", have)
			}
		case 1: // removed
			if b.docker("volume", "rm", name) {
				continue
			}
		}
		b.mu.Lock()
		b.synced[name] = have
		b.mu.Unlock()
	}
}

// write runs a container that looks whether all files are there, and writes one more.
func (b *siege) write(volume, file string, have files) {
	script := check("/data", have) + fmt.Sprintf("cd /data && rm -f %[1]s && dd if=/dev/urandom of=%[1]s bs=64k count=4 conv=fsync 2>/dev/null && sync && sha256sum %[1]s", file)
	container := volume + file
	again := false
	err := b.persist(func() error {
		var stays error
		if again {
			_, stays = b.h.Docker("rm", "-f", container)
		}
		again = true
		out, err := b.h.Docker("run", "--rm", "--name", container, "--mount", mountOf(volume, "/data"), rig.Image, "sh", "-c", script)
		switch {
		case err == nil:
			have[file] = strings.Fields(out)[0]
			return nil
		case strings.Contains(err.Error(), "lost: "):
			return final{err}
		}
		if stays != nil && !strings.Contains(stays.Error(), "No such container") {
			err = fmt.Errorf("%w, and before: %w", err, stays)
		}
		return err
	})
	if err != nil {
		b.tell(fmt.Sprintf("volume %s is not mounted and written: %v", volume, err))
	}
}

// mountOf names the driver: of a name that it has not heard of yet, as after a restore, Docker makes
// a volume of its own while mos-lvm does not answer.
func mountOf(volume, at string) string {
	return "type=volume,src=" + volume + ",dst=" + at + ",volume-driver=" + lab.Lvm
}

// final is an error that no repetition mends.
type final struct{ error }

// persist repeats an act until it succeeds. It gives up after so many tries that no
// kill fell into: on a busy machine kills and starts may be all that there is room
// for, and without power a host refuses twenty times in six seconds. The error
// tells of all tries.
func (b *siege) persist(act func() error) error {
	start := time.Now()
	var all strings.Builder
	n := 0
	for undisturbed := 0; undisturbed < tries; n++ {
		began, before := time.Since(start), b.faults.Load()
		err := act()
		if err == nil {
			b.did.Add(1)
			if n >= tries {
				b.t.Logf("it took %d tries:%s", n+1, &all) // are kills the only cause?
			}
			return nil
		}
		if errors.As(err, &final{}) {
			return err
		}
		b.failed.Add(1)
		when := "undisturbed"
		if before%2 == 1 || b.faults.Load() != before {
			when = "amid a kill"
		} else {
			undisturbed++
		}
		fmt.Fprintf(&all, "\n\t%.1f s to %.1f s, %s: %v", began.Seconds(), time.Since(start).Seconds(), when, err)
		time.Sleep(300 * time.Millisecond)
	}
	return fmt.Errorf("%d tries fail without a kill:%s", tries, &all)
}

// check is a shell script that says "lost: " and which when a file is not what it was.
func check(dir string, have files) string {
	var s strings.Builder
	for f, sum := range have {
		fmt.Fprintf(&s, "echo '%s  %s/%s' | sha256sum -c >/dev/null || { echo lost\"\": %[2]s/%[3]s >&2; exit 9; }; ", sum, dir, f)
	}
	return s.String()
}

// docker repeats a command until it succeeds or there is no such thing any more.
func (b *siege) docker(args ...string) bool {
	var last error
	err := b.persist(func() error {
		if _, last = b.h.Docker(args...); last != nil && strings.Contains(strings.ToLower(last.Error()), "no such volume") {
			return nil
		}
		return last
	})
	if err != nil && !strings.Contains(last.Error(), halfStarted) {
		b.tell(fmt.Sprintf("docker %s: %v", strings.Join(args, " "), err))
	}
	return err == nil
}

// restore repeats until the volume is there under its new name.
func (b *siege) restore(name, as string) bool {
	err := b.persist(func() error {
		_, err := b.h.Volumes.Restore(b.t.Context(), api.RestoreRequest{Volume: name, As: as})
		if err == nil {
			return nil
		}
		if _, verr := b.h.Volumes.Volume(b.t.Context(), as); verr == nil {
			return nil // the answer got lost
		}
		return err
	})
	if err != nil {
		b.tell(fmt.Sprintf("restore %s as %s: %v", name, as, err))
	}
	return err == nil
}

// caller is somebody who calls the admin API as fast as it can.
func (b *siege) caller(me string, r *rand.Rand) {
	ctx, c := b.t.Context(), b.h.Volumes
	for !b.over.Load() {
		name := fmt.Sprintf("%s-%d", me, r.IntN(4))
		var err error
		act := []string{"create", "create", "import", "remove", "restore", "resize", "purge"}[r.IntN(7)]
		switch act {
		case "create":
			_, err = c.Create(ctx, api.CreateRequest{Name: name, Options: map[string]string{"size": "16m", "fs": "ext4"}})
		case "import":
			_, err = c.Import(ctx, strings.NewReader(string(b.stream)), api.CreateRequest{Name: name}, nil)
		case "remove":
			_, err = c.Remove(ctx, api.RemoveRequest{Volume: name})
		case "restore":
			_, err = c.Restore(ctx, api.RestoreRequest{Volume: name})
		case "resize":
			_, err = c.Resize(ctx, api.ResizeRequest{Volume: name, Size: "+1m"})
		case "purge":
			_, err = c.Purge(ctx, api.PurgeRequest{Volumes: []string{name}}, nil)
		}
		b.note(act+" "+name, err)
		time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
	}
}

// note counts, and keeps errors that are neither a cut nor a refusal.
func (b *siege) note(act string, err error) {
	if err == nil {
		b.did.Add(1)
		return
	}
	b.failed.Add(1)
	for _, known := range []string{
		"does not answer", "cut off", "EOF", "connection re", "broken pipe", // it was killed
		"there is no volume", "there is a volume", "means ", "is not in the recycle bin", "the recycle bin has no volume", "docker has a volume", // the caller asks for anything
		"is in use as /dev/loop",   // the mkfs of a daemon that was killed outlives it for a moment; what stays is for the audit
		"is being made or changed", // an import waits for nobody, such as the repair of what a kill cut off
		"differ", "has another", "signal: killed", "not known", "not read yet", "killed", "was asked for", "is there",
	} {
		if strings.Contains(err.Error(), known) {
			return
		}
	}
	b.tell(act + ": " + err.Error())
}

func (b *siege) tell(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.unsaid) < 20 {
		b.unsaid = append(b.unsaid, what)
	}
}

// whole waits for an empty audit, then mounts all volumes and looks at their data.
func (b *siege) whole() {
	start := time.Now()
	if err := testx.Poll(30*time.Second, func() error { return volumesAudited(b.t.Context(), b.h) }); err != nil {
		b.t.Errorf("half a minute later: %v", err)
	}
	b.t.Logf("the audit is empty after %.1f s", time.Since(start).Seconds())
	if ids := strings.Fields(b.h.D("ps", "-aq")); len(ids) > 0 {
		b.h.D(append([]string{"rm", "-f"}, ids...)...)
	}
	// An engine that is killed while it starts a container forgets it, half
	// started, with its volumes; the driver is right not to let go of these.
	if out, _ := b.h.Exec(b.t.Context(), "pkill", "-9", "-c", "-x", regexp.QuoteMeta(halfStarted)); out != "0" {
		b.t.Logf("the killed engine forgot %s half started containers", out)
	}
	vs, err := b.h.Volumes.Volumes(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	there := map[string]bool{}
	var mounts []string
	var script strings.Builder
	for _, v := range vs {
		there[v.Name] = true
		mounts = append(mounts, "--mount", mountOf(v.Name, "/v/"+v.Name))
		script.WriteString(check("/v/"+v.Name, b.synced[v.Name]) + "echo x >/v/" + v.Name + "/new || exit 8; ")
	}
	for name := range b.synced {
		if !there[name] {
			b.t.Errorf("volume %s is gone", name)
		}
	}
	argv := append(append([]string{"run", "--rm"}, mounts...), rig.Image, "sh", "-c", script.String()+"sync")
	if _, err := b.h.Docker(argv...); err != nil {
		b.t.Errorf("%d volumes: %v", len(vs), err)
	}
	b.t.Logf("%d volumes are whole", len(vs))
}

// empty removes all and looks at what is left.
func (b *siege) empty() {
	ctx := b.t.Context()
	time.Sleep(1100 * time.Millisecond) // volumes that were just given away are not removed
	for name := range strings.FieldsSeq(b.h.D("volume", "ls", "-q")) {
		b.h.D("volume", "rm", name)
	}
	if err := testx.Poll(40*time.Second, b.h.Idle); err != nil {
		b.t.Error(err)
	}
	if _, err := b.h.Volumes.Purge(ctx, api.PurgeRequest{All: true}, nil); err != nil {
		b.t.Error(err)
	}
	if left := b.h.Images(); len(left) > 0 {
		b.t.Errorf("files of no volume: %q", left)
	}
	if err := volumesAudited(ctx, b.h); err != nil {
		b.t.Error(err)
	}
}

// volumesAudited is what the audit of volumes finds, as an error.
func volumesAudited(ctx context.Context, h *lab.Host) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	a, err := h.Volumes.Audit(ctx)
	errs := []error{err}
	for _, f := range a.Findings {
		errs = append(errs, fmt.Errorf("audit: %s %s: %s", f.Kind, f.Object, f.Detail))
	}
	return errors.Join(errs...)
}
