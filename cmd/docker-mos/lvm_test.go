package main

import (
	"net/http"
	"strings"
	"time"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
)

const gib = 1 << 30

func on(day, hour int) time.Time { return time.Date(2026, time.May, day, hour, 30, 0, 0, time.UTC) }

func volumes() []lvm.Volume {
	snap := lvm.Snapshot{Volume: "data", Name: "monday", ID: "s1f00ba4", Size: 20 * gib, Allocated: gib / 2, Created: past(50)}
	return []lvm.Volume{
		{
			Name: "data", ID: "v1a2b3c4", Type: "thin", FS: "ext4", VG: "mos", LV: "v1a2b3c4", State: lvm.StateReady, Size: 20 * gib, Allocated: 3 * gib,
			Usage:      &lvm.Usage{Size: 20 * gib, Used: 5 * gib, Free: 14 * gib, Inodes: 1000, InodesUsed: 891, At: past(1)},
			Mountpoint: "/var/lib/mos/mos-lvm/mnt/v1a2b3c4", Mode: "755", IOPS: 500, BPS: 64 << 20, Snapshots: []lvm.Snapshot{snap}, Created: past(75),
			Users: []lvm.User{{Container: id("c"), Name: "web", PID: 4711, Command: "nginx", Mountpoint: "/data"}, {Container: id("c"), Name: "web", PID: 4712, Command: "nginx"}, {PID: 99, Command: "rsync"}},
		},
		{
			Name: id("f"), ID: "v9", Type: "loop", FS: "xfs", Image: "/var/lib/mos/mos-lvm/images/v9", State: lvm.StateReady, Size: 3 * gib / 2, Allocated: 3 * gib / 2,
			Usage: &lvm.Usage{Size: gib, Used: gib, Inodes: 100, InodesUsed: 3, At: past(2)}, Mode: "755", From: "data@monday", Created: past(3),
		},
		{Name: "new", ID: "v7", Type: "thin", FS: "ext4", VG: "mos", LV: "v7", State: lvm.StateCreating, Size: gib, Mode: "755", Created: past(1)},
		{Name: "torn", ID: "v8", Type: "loop", FS: "ext4", State: lvm.StateReady, Size: gib, Mode: "755", Created: past(9), Fault: "its image is gone"},
	}
}

func trash() []lvm.Volume {
	one := func(name, id string, size uint64) lvm.Volume {
		trashed, expires := past(30), past(-43)
		return lvm.Volume{Name: name, ID: id, Type: "thin", FS: "ext4", VG: "mos", LV: id, State: lvm.StateTrashed, Size: size, Allocated: size / 4, Mode: "755", Created: past(99), Trashed: &trashed, Expires: &expires}
	}
	return []lvm.Volume{one("old", "t1", 4*gib), one("twice", "t2", 8*gib), one("twice", "t3", gib)}
}

func pools() []lvm.Pool {
	return []lvm.Pool{
		{
			Name: "mos/pool", Types: []string{"thin"}, VG: "mos", Default: true, State: lvm.PoolPause, Size: 100 * gib, Used: 97 * gib, Data: 0.97, Meta: 0.125, VGFree: 0,
			Virtual: 120 * gib, Limit: 150 * gib, Overcom: 1.2, Ratio: 1.5, Spare: 5 * gib, Trash: 13 * gib, Volumes: 2, Snapshots: true,
			Paused: []lvm.User{{Container: id("c"), Name: "web", PID: 4711}},
		},
		{Name: "/var/lib/mos/mos-lvm/images", Types: []string{"loop"}, State: lvm.PoolOK, Size: 50 * gib, Used: 2 * gib, Data: 0.04, Virtual: 2 * gib, Limit: 45 * gib, Overcom: 0.04, Ratio: 1, Volumes: 1},
		{Name: "gone", Types: []string{"linear", "striped"}, VG: "gone", State: lvm.PoolRefuse, Error: "volume group gone is not there: plug its disk in"},
	}
}

func steps(s ...lvm.Step) lvm.Plan { return lvm.Plan{Steps: s} }

// lvmAnswer is mos-lvm with three volumes, a snapshot, a full bin and pools of
// all kinds.
func lvmAnswer(r *http.Request, body []byte) (any, int) {
	if ref, ok := strings.CutPrefix(r.URL.Path, "/v1/volumes/"); ok {
		for _, v := range volumes() {
			if sameRef(ref, v.Name, v.ID) {
				return v, 200
			}
		}
		return refuse(404, "not_found", "no volume is called "+ref)
	}
	if r.Method == http.MethodGet {
		return lvmSays(r)
	}
	return lvmDoes(r, string(body))
}

func lvmSays(r *http.Request) (any, int) {
	switch r.URL.Path {
	case "/v1/status":
		return lvm.Status{Version: "v1.1.0", Started: past(49), Default: "thin", Volumes: 3, Mounted: 1, Trashed: 3, Pools: pools(), Error: "volume group gone is not there"}, 200
	case "/v1/volumes":
		return volumes(), 200
	case "/v1/snapshots":
		return volumes()[0].Snapshots, 200
	case "/v1/trash":
		return trash(), 200
	case "/v1/pools":
		return pools(), 200
	case "/v1/events":
		return []lvm.Event{
			{Time: on(1, 9), Level: "info", Kind: "trash", Object: "older", Detail: "purged: kept for 72h0m0s"},
			{Time: on(2, 10), Level: "error", Kind: "pool", Object: "mos/pool", Detail: "97 % full: 1 container paused"},
		}, 200
	case "/v1/audit":
		return lvm.Audit{Findings: []lvm.Finding{
			{Kind: "lv", Object: "mos/x1", Detail: "has no volume", Hint: "docker mos volume gc"},
			{Kind: "volume", Object: id("f"), Detail: "its making was cut off"},
		}}, 200
	case "/v1/doctor":
		return lvm.Doctor{Checks: []lvm.Check{{Name: "lvm answers", OK: true, Detail: "2.03.16"}}}, 200
	case "/v1/export":
		switch r.URL.Query().Get("volume") {
		case "data@monday":
			return blob{data: "a stream of monday\n"}, 200
		case "data":
			return blob{"half a str", "volume data: read error"}, 200
		}
		return refuse(404, "not_found", "no volume is called "+r.URL.Query().Get("volume"))
	}
	return refuse(404, "not_found", "no such path")
}

func lvmDoes(r *http.Request, body string) (any, int) {
	dry := strings.Contains(body, `"dryRun":true`) || r.URL.Query().Get("dryRun") == "true"
	done := func(v lvm.Volume, s ...lvm.Step) (any, int) {
		p := steps(s...)
		if !dry {
			p.Volume = &v
		}
		return p, 200
	}
	if strings.Contains(body, `"nobody"`) {
		return refuse(404, "not_found", "no volume is called nobody")
	}
	switch r.Method + " " + r.URL.Path {
	case "POST /v1/volumes":
		if strings.Contains(body, `"name":"bad"`) {
			return refuse(400, "invalid_argument", "option size is missing: give -o size=20g")
		}
		return done(lvm.Volume{Name: "fresh"}, lvm.Step{Op: "create lv", Object: "mos/v8", Detail: "20GiB thin", Cause: "volume fresh is wanted"}, lvm.Step{Op: "make ext4", Object: "mos/v8", Cause: "the lv is new"})
	case "POST /v1/resize":
		p := steps(lvm.Step{Op: "extend lv", Object: "mos/v1a2b3c4", Detail: "20GiB to 25GiB", Cause: "5GiB more are wanted"})
		p.Note = "the file system grows at the next mount"
		return p, 200
	case "POST /v1/remove":
		if strings.Contains(body, `"busy"`) {
			return refuse(409, "conflict", "volume busy is in use by container web: stop it first")
		}
		return steps(lvm.Step{Op: "rename lv", Object: "mos/v7", Cause: "into the recycle bin"}), 200
	case "POST /v1/snapshots":
		p := steps(lvm.Step{Op: "snapshot lv", Object: "mos/v1a2b3c4", Detail: "tuesday", Cause: "it is wanted"})
		if !dry {
			p.Snapshot = &lvm.Snapshot{Volume: "data", Name: "tuesday"}
		}
		return p, 200
	case "POST /v1/snapshots/remove":
		return steps(lvm.Step{Op: "remove lv", Object: "mos/s1f00ba4", Cause: "snapshot monday is not wanted"}), 200
	case "POST /v1/trash/restore":
		if strings.Contains(body, `"volume":"twice"`) {
			return refuse(400, "invalid_argument", "2 volumes in the recycle bin were called twice: give the id, t2 or t3")
		}
		return done(lvm.Volume{Name: "back"}, lvm.Step{Op: "rename lv", Object: "mos/t1", Cause: "out of the recycle bin"})
	case "POST /v1/trash/purge":
		p := steps(lvm.Step{Op: "remove lv", Object: "mos/t1", Detail: "4GiB", Cause: "purge of old"})
		return lines{lvm.Progress{Object: "old", Done: gib, Total: 4 * gib}, lvm.Progress{Plan: &p}}, 200
	case "POST /v1/import":
		if !strings.HasPrefix(body, "a stream") {
			return lines{lvm.Progress{Error: "this is no stream of a volume", Code: "invalid_argument"}}, 200
		}
		p, _ := done(lvm.Volume{Name: "copy"}, lvm.Step{Op: "create lv", Object: "mos/v8", Detail: "20GiB thin", Cause: "import"})
		plan, _ := p.(lvm.Plan)
		return lines{lvm.Progress{Plan: &plan}}, 200
	case "POST /v1/gc":
		return lvm.GC{Objects: []lvm.Finding{{Kind: "lv", Object: "mos/x1", Detail: "has no volume"}}}, 200
	case "PUT /v1/loglevel":
		return struct{}{}, 200
	}
	return refuse(404, "not_found", "no such path")
}
