package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/daemon"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/lvmvolume"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

const initHelp = `mos-lvm init gives this host a volume group for volumes:

  mos-lvm init -size 20g               a trial group in a file below the state directory
  mos-lvm init /dev/sdb /dev/sdc       a group on whole disks
  mos-lvm init -adopt -vg data         a group that exists; nothing in it is changed
  mos-lvm init -forget -vg data        end that a group is ours; its disks stay as they are

A disk that holds data is refused, with what is on it, unless -force-wipe is given.
Without any group, volumes are loop images, and no init is needed.

`

// initialize is the command "mos-lvm init".
func initialize(args, env []string) error {
	fs := flag.NewFlagSet("mos-lvm init", flag.ContinueOnError)
	fs.Usage = func() {
		_, _ = fmt.Fprint(fs.Output(), initHelp)
		fs.PrintDefaults()
	}
	vg := fs.String("vg", "mosvg", "name of the volume group")
	size := fs.String("size", "", "size of a trial group's file, such as 20g")
	pool := fs.String("pool", "80%", "part of a new group that becomes a thin pool; 0 is none")
	adopt := fs.Bool("adopt", false, "take the group -vg that exists")
	forget := fs.Bool("forget", false, "end that the group -vg is ours")
	wipe := fs.Bool("force-wipe", false, "overwrite what is on the disks")
	conf := fs.String("config", "", "configuration file of mos-lvm")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return config.ErrDone
	case err != nil:
		return fmt.Errorf("%w: %w", daemon.ErrConfig, err)
	}
	r := lvmvolume.InitRequest{VG: *vg, Devices: fs.Args(), Adopt: *adopt, ForceWipe: *wipe}
	var err error
	if *size != "" {
		if r.Size, err = spec.ParseSize(*size); err != nil {
			return fmt.Errorf("%w: -size: %w", daemon.ErrConfig, err)
		}
	}
	if r.PoolShare, err = share(*pool); err != nil {
		return err
	}
	cfg, log, err := loadFile(*conf, env)
	if err != nil {
		return err
	}
	ctx, stop := untilStopped()
	defer stop()
	if *forget {
		return lvmvolume.Forget(ctx, cfg, log, *vg, os.Stdout)
	}
	return lvmvolume.Init(ctx, cfg, log, r, os.Stdout)
}

// loadFile loads the configuration, of another file than the usual one if named.
func loadFile(path string, env []string) (lvmvolume.Config, *logx.Logger, error) {
	if path == "" {
		return load(nil, env)
	}
	return load([]string{"-config", path}, env)
}

// share reads "80%", or "0".
func share(s string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	fits := n >= 0 && n <= 95 // NaN does not
	if err != nil || !fits || n != 0 && !strings.HasSuffix(s, "%") {
		return 0, fmt.Errorf("%w: -pool: want 0 to 95%%, not %q", daemon.ErrConfig, s)
	}
	return n / 100, nil
}
