package lvm

import (
	"slices"
	"strconv"
	"strings"
)

// notByHost marks a volume so that neither the boot of the host nor a "vgchange
// --activate y" makes its device: the caller does when it is used, and overrules
// the mark. (--setautoactivation, which is made for this, is refused for thin
// volumes and snapshots, and a second command would break the crash rule.)
func notByHost() []string { return []string{"--setactivationskip=y", "--ignoreactivationskip"} }

// settings is the part of lvm.conf that every command overrides; own says that
// it runs on our devices file.
//
//   - hints and the udev list are of no use beside a devices file; scan_lvs would
//     look for groups inside the volumes themselves.
//   - backups are the caller's: lvm would write the whole metadata into two
//     files at each change, and read the folder of the old ones.
//   - pools are watched by the caller, not by dmeventd.
//
// With 1,000 volumes a change of one takes 83 ms so, against 174 with lvm's
// defaults, and a report 64 against 104 (134 with all fields).
func (c *Client) settings(own bool) string {
	devices := `hints="none" scan_lvs=0 obtain_device_list_from_udev=0`
	if own {
		devices += ` use_devicesfile=1`
	}
	s := []string{
		`devices{` + devices + `}`,
		`backup{backup=0 archive=0}`,
		`global{notify_dbus=0 use_lvmpolld=0}`,
		`report{output_format="basic"}`,
	}
	activation := `monitoring=0 error_when_full=1`
	if c.cfg.NoUdev {
		activation += ` udev_sync=0 udev_rules=0`
	}
	return strings.Join(append(s, `activation{`+activation+`}`), " ")
}

// command begins the arguments of one of lvm's commands.
func (c *Client) command(name string, args ...string) []string {
	return append(c.hostCommand(name, "--devicesfile="+c.cfg.DevicesFile, "--config="+c.settings(true)), args...)
}

// hostCommand is a command on the devices that the host's own LVM sees.
func (c *Client) hostCommand(name string, args ...string) []string {
	argv := []string{"lvm", name}
	if c.cfg.NoKernel {
		argv = append(argv, "--driverloaded=n")
	}
	return append(argv, args...)
}

func reportArgs() []string {
	argv := []string{"--reportformat=json", "--units=b", "--nosuffix", "--binary"}
	for _, r := range []struct{ name, fields, only string }{
		{"vg", "vg_name,vg_uuid,vg_size,vg_free,vg_extent_size,vg_tags,vg_mda_size,vg_mda_free,vg_missing_pv_count,vg_seqno", ""},
		{"pv", "pv_name,pv_uuid,vg_name,pv_size,pv_free,pv_missing", ""},
		{"lv", "lv_name,lv_uuid,vg_name,lv_size,lv_metadata_size,lv_attr,lv_layout,pool_lv,origin,lv_tags,data_percent,metadata_percent,lv_kernel_major,lv_kernel_minor", ""},
		// These two cannot be left out, only emptied.
		{"pvseg", "pv_uuid", "pv_uuid=none"},
		{"seg", "lv_uuid", "lv_uuid=none"},
	} {
		argv = append(argv, "--configreport="+r.name, "--options="+r.fields)
		if r.only != "" {
			argv = append(argv, "--select="+r.only)
		}
	}
	return argv
}

func (c *Client) linearArgs(v Linear) []string {
	argv := c.command("lvcreate", "--yes", "--name="+v.Name, "--size="+sizeArg(v.Size))
	if v.Stripes > 1 {
		argv = append(argv, "--type=striped", "--stripes="+strconv.Itoa(v.Stripes))
	} else {
		argv = append(argv, "--type=linear")
	}
	if c.cfg.NoKernel {
		argv = append(argv, "--activate=n", "--zero=n", "--wipesignatures=n")
	} else {
		argv = append(argv, "--activate=y", "--zero=y", "--wipesignatures=y")
	}
	return append(slices.Concat(argv, notByHost(), tagArgs("--addtag=", v.Tags)), v.VG)
}

func (c *Client) thinArgs(v Thin) []string {
	argv := c.command("lvcreate", "--yes", "--type=thin", "--name="+v.Name,
		"--virtualsize="+sizeArg(v.Size), "--thinpool="+v.Pool, c.activate(true))
	return append(slices.Concat(argv, notByHost(), tagArgs("--addtag=", v.Tags)), v.VG)
}

func (c *Client) snapshotArgs(v Snapshot) []string {
	argv := c.command("lvcreate", "--yes", "--snapshot", "--name="+v.Name, c.activate(v.Active))
	return append(slices.Concat(argv, notByHost(), tagArgs("--addtag=", v.Tags)), v.VG+"/"+v.Origin)
}

func (c *Client) activate(yes bool) string {
	if yes && !c.cfg.NoKernel {
		return "--activate=y"
	}
	return "--activate=n"
}

// poolArgs leaves the pool itself to the host, where it does no harm. That it
// errs when it is full is in the settings: --errorwhenfull is refused here.
func (c *Client) poolArgs(p Pool) []string {
	argv := c.command("lvcreate", "--yes", "--type=thin-pool", "--name="+p.Name, "--size="+sizeArg(p.Size),
		"--zero=y", "--discards=passdown", c.activate(true))
	if p.MetadataSize > 0 {
		argv = append(argv, "--poolmetadatasize="+sizeArg(p.MetadataSize))
	}
	if p.ChunkSize > 0 {
		argv = append(argv, "--chunksize="+sizeArg(p.ChunkSize))
	}
	return append(append(append(argv, tagArgs("--addtag=", p.Tags)...), p.VG), p.Extents...)
}

func (c *Client) retagArgs(vg string, lvs, add, del []string) []string {
	argv := c.command("lvchange", tagArgs("--deltag=", del)...)
	return append(append(argv, tagArgs("--addtag=", add)...), paths(vg, lvs)...)
}

// removeArgs leaves pools alone: with --yes a pool would take all its volumes
// along.
func (c *Client) removeArgs(vg string, lvs []string) []string {
	return append(c.command("lvremove", "--yes", "--select=lv_attr!~^t"), paths(vg, lvs)...)
}

// removePoolArgs selects the pool only while it has no volumes.
func (c *Client) removePoolArgs(vg, pool string) []string {
	return c.command("lvremove", "--yes", "--select=thin_count=0", vg+"/"+pool)
}

func (c *Client) createVGArgs(g Group) []string {
	argv := c.command("vgcreate", "--setautoactivation=n", "--metadatasize="+sizeArg(g.MetadataSize))
	if g.Wipe {
		argv = append(argv, "--yes")
	}
	argv = append(append(argv, tagArgs("--addtag=", g.Tags)...), g.Name)
	return append(argv, g.Devices...)
}

// tagArgs sorts, so that the same tags make the same command.
func tagArgs(flag string, tags []string) []string {
	var args []string
	for _, t := range slices.Sorted(slices.Values(tags)) {
		args = append(args, flag+t)
	}
	return args
}

func paths(vg string, lvs []string) []string {
	var p []string
	for _, lv := range lvs {
		p = append(p, vg+"/"+lv)
	}
	return p
}
