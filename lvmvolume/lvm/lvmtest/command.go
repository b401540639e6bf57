package lvmtest

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/internal/xexec"
)

// call is one command line, taken apart.
type call struct {
	program, name string
	flags         map[string][]string
	args          []string
}

// parse takes "--flag=value" and "--flag" apart; other arguments are words.
// dmsetup has its flags' values in words of their own.
func parse(c xexec.Cmd) call {
	k := call{program: path.Base(c.Argv[0]), flags: map[string][]string{}}
	for i, a := range c.Argv[1:] {
		flag, isFlag := strings.CutPrefix(a, "--")
		switch {
		case i == 0:
			k.name = a
		case isFlag:
			n, v, _ := strings.Cut(flag, "=")
			k.flags[n] = append(k.flags[n], v)
		default:
			k.args = append(k.args, a)
		}
	}
	return k
}

func (k call) has(flag string) bool { return len(k.flags[flag]) > 0 }

func (k call) flag(name string) string {
	if v := k.flags[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// bytes reads a size as package lvm writes them: "123b".
func (k call) bytes(flag string) int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(k.flag(flag), "b"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// result is what a command writes and its exit code.
type result struct {
	out, err strings.Builder
	code     int
}

const (
	exitFailed  = 5
	exitInvalid = 3
)

func (r *result) fail(format string, args ...any) {
	fmt.Fprintf(&r.err, "  "+format+"\n", args...)
	r.code = max(r.code, exitFailed)
}

func (r *result) say(format string, args ...any) { fmt.Fprintf(&r.out, "  "+format+"\n", args...) }

// run runs one command with the lock held.
func (f *Fake) run(k call) *result {
	r := &result{}
	if k.program == "dmsetup" && k.name == "status" {
		f.dmStatus(k, r)
		return r
	}
	run := map[string]func(call, *result){
		"fullreport": f.fullreport, "lvmdevices": f.lvmdevices,
		"vgcreate": f.vgcreate, "vgextend": f.vgextend, "vgremove": f.vgremove, "pvremove": f.pvremove,
		"lvcreate": f.lvcreate, "lvchange": f.lvchange, "lvextend": f.lvextend, "lvrename": f.lvrename, "lvremove": f.lvremove,
	}[k.name]
	if k.program != "lvm" || run == nil {
		r.fail("the fake does not know %s %s", k.program, k.name)
		r.code = exitInvalid
		return r
	}
	run(k, r)
	return r
}

func (f *Fake) uuid() string {
	f.ids++
	return fmt.Sprintf("fake00-0000-0000-0000-0000-0000-%06d", f.ids)
}

func (f *Fake) lvmdevices(k call, r *result) {
	switch {
	case k.has("adddev"):
		d := k.flag("adddev")
		if _, there := f.devices[d]; !there {
			r.fail("Device not found: %s", d)
			return
		}
		f.listed[d] = true
	case k.has("deldev"):
		if d := k.flag("deldev"); !f.listed[d] {
			r.fail("No devices file entry for %s.", d)
		} else {
			delete(f.listed, d)
		}
	default:
		for _, d := range sortedKeys(f.listed) {
			id := "none"
			if p := f.pvOf(d); p != nil {
				id = strings.ReplaceAll(p.uuid, "-", "")
			}
			r.say("Device %s IDTYPE=sys_serial IDNAME=%s DEVNAME=%s PVID=%s", d, path.Base(d), d, id)
		}
	}
}

func (f *Fake) pvOf(device string) *pv {
	for _, g := range f.groups {
		for _, p := range g.pvs {
			if p.device == device {
				return p
			}
		}
	}
	return nil
}

// pvs makes PVs of devices, or fails.
func (f *Fake) pvs(k call, devices []string, r *result) []*pv {
	var pvs []*pv
	for _, d := range devices {
		switch {
		case !f.listed[d]:
			r.fail("No device found for %s.", d)
			return nil
		case f.pvOf(d) != nil:
			r.fail("Physical volume '%s' is already in volume group", d)
			return nil
		}
		const extent = 4 << 20
		start := (k.bytes("metadatasize") + extent - 1) / extent * extent
		pvs = append(pvs, &pv{device: d, uuid: f.uuid(), size: (f.devices[d] - start) / extent * extent})
	}
	return pvs
}

func (f *Fake) vgcreate(k call, r *result) {
	const extent = 4 << 20
	name := k.args[0]
	if f.groups[name] != nil {
		r.fail("A volume group called %s already exists.", name)
		return
	}
	if pvs := f.pvs(k, k.args[1:], r); pvs != nil {
		f.groups[name] = &group{
			name: name, uuid: f.uuid(), extent: extent, mda: mdaSize(k.bytes("metadatasize")), tags: slices.Clone(k.flags["addtag"]),
			pvs: pvs, lvs: map[string]*lv{}, seqno: 1,
		}
		r.say("Volume group %q successfully created", name)
	}
}

// mdaSize is what lvm makes of --metadatasize: the label before it and the area
// end at a whole MiB.
func mdaSize(asked int64) int64 {
	const label, align = 4096, 1 << 20
	return (asked+label+align-1)/align*align - label
}

func (f *Fake) vgextend(k call, r *result) {
	if g := f.group(k.args[0], r); g != nil {
		if pvs := f.pvs(k, k.args[1:], r); pvs != nil {
			g.pvs = append(g.pvs, pvs...)
			g.seqno++
		}
	}
}

func (f *Fake) vgremove(k call, r *result) {
	g := f.group(k.args[0], r)
	switch {
	case g == nil:
	case len(g.lvs) > 0:
		r.fail("Volume group %q not removed", g.name)
	default:
		delete(f.groups, g.name)
	}
}

func (f *Fake) pvremove(k call, r *result) {
	for _, d := range k.args {
		if f.pvOf(d) != nil {
			r.fail("PV %s is used by VG, so please use vgreduce first.", d)
		}
	}
}

func (f *Fake) group(name string, r *result) *group {
	g := f.groups[name]
	if g == nil || !slices.ContainsFunc(g.pvs, func(p *pv) bool { return f.listed[p.device] }) {
		r.fail("Volume group %q not found\n  Cannot process volume group %s", name, name)
		return nil
	}
	return g
}

// writable is [Fake.group] for a command that writes the metadata.
func (f *Fake) writable(name string, r *result) *group {
	g := f.group(name, r)
	if g == nil {
		return nil
	}
	if slices.ContainsFunc(g.pvs, func(p *pv) bool { return p.missing }) {
		r.fail("Cannot change VG %s while PVs are missing.\n  Consider vgreduce --removemissing.", name)
		return nil
	}
	return g
}
