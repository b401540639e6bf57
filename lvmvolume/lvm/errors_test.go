package lvm_test

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
)

type mapped struct {
	name   string
	code   int
	stderr string
	want   error
}

// recorded are texts of lvm 2.03.16 and 2.03.31, or of the one that is named.
func recorded() []mapped {
	return []mapped{
		{"no_space", 5, `  Volume group "vgw" has insufficient free space (21 extents): 1024 required.`, errdefs.ErrResourceExhausted},
		{"no_space_extend", 5, `  Insufficient free space: 1022 extents needed, but only 20 available`, errdefs.ErrResourceExhausted},
		{"metadata_full", 5, "  WARNING: Failed to write mda.\n  metadata on /dev/loop0 (521764 bytes) exceeds maximum metadata size (521472 bytes)\n  Failed to write VG vg.", errdefs.ErrResourceExhausted},
		{"no_group", 5, "  Volume group \"novg\" not found\n  Cannot process volume group novg", errdefs.ErrNotFound},
		{"no_volume", 5, `  Failed to find logical volume "vgw/nolv"`, errdefs.ErrNotFound},
		{"no_volume_extend_2.03.16", 5, `  Logical volume nolv not found in volume group vgw.`, errdefs.ErrNotFound},
		{"no_volume_rename", 5, `  Existing logical volume "a" not found in volume group "vgw"`, errdefs.ErrNotFound},
		{"no_origin", 5, `  Snapshot origin LV nolv not found in Volume group vgw.`, errdefs.ErrNotFound},
		{"no_pool", 5, `  Pool p not found in Volume group vgw.`, errdefs.ErrNotFound},
		{"no_device", 5, `  No device found for /dev/nodev.`, errdefs.ErrNotFound},
		{"no_entry", 5, `  No devices file entry for /dev/loop3.`, errdefs.ErrNotFound},
		{"volume_exists", 5, `  Logical Volume "a" already exists in volume group "vgw"`, errdefs.ErrAlreadyExists},
		{"group_exists", 5, `  A volume group called vgw already exists.`, errdefs.ErrAlreadyExists},
		{"device_taken", 5, "  Physical volume '/dev/loop1' is already in volume group 'vgw'\n  Unable to add physical volume '/dev/loop1' to volume group 'vgw'\n  /dev/loop1: physical volume not initialized.", errdefs.ErrFailedPrecondition},
		{"device_small", 5, "  Cannot use /dev/loop7: device is too small (pv_min_size)\n  Command requires all devices to be found.", errdefs.ErrFailedPrecondition},
		{"device_signed", 5, "WARNING: ext4 signature detected on /dev/loop3 at offset 1080. Wipe it? [y/n]: [n]\n  Aborted wiping of ext4.\n  1 existing signature left on the device.", errdefs.ErrFailedPrecondition},
		{"group_used", 5, "Do you really want to remove volume group \"vgw\" containing 1 logical volumes? [y/n]: [n]\n  Volume group \"vgw\" not removed", errdefs.ErrFailedPrecondition},
		{"in_use", 5, `  Logical volume vgw/a contains a filesystem in use.`, errdefs.ErrFailedPrecondition},
		{"open", 5, `  Logical volume vgw/a in use.`, errdefs.ErrFailedPrecondition},
		{"missing", 5, "  WARNING: Couldn't find device with uuid MXtXIP-jGiD-wlcG-HvYo-vqz5-KLXY-dZSi5V.\n  Cannot change VG vgw while PVs are missing.\n  See vgreduce --removemissing and vgextend --restoremissing.\n  Cannot process volume group vgw", errdefs.ErrFailedPrecondition},
		{"no_kernel", 5, `  Can't create thin-pool without using device-mapper kernel driver.`, errdefs.ErrFailedPrecondition},
		{"smaller", 5, `  New size given (1 extents) not larger than existing size (2 extents)`, errdefs.ErrInvalidArgument},
		{"thick_origin", 5, `  Please specify either size or extents with snapshots.`, errdefs.ErrInvalidArgument},
		{"reserved", 3, "  Names including \"_tdata\" are reserved. Please choose a different LV name.\n  Run `lvcreate --help' for more information.", errdefs.ErrInvalidArgument},
		{"tag", 3, "  Invalid argument for --addtag: a b\n  Error during parsing of command line.", errdefs.ErrInvalidArgument},
		{"usage", 3, "  Option --errorwhenfull is unsupported with thin pools.\n  Run `lvcreate --help' for more information.", errdefs.ErrInvalidArgument},
		{"stripes", 5, "  Number of stripes (2) must not exceed number of physical volumes (1)\n  Using default stripesize 64.00 KiB.", errdefs.ErrInvalidArgument},
		{"stray", 5, "  device-mapper: message ioctl on  (253:2) failed: File exists\n  Failed to process message \"create_snap 2 1\".\n  Thin pool vgw-p-tpool (253:2) already contain thin device with device_id 2.\n  Manual intervention may be required to remove device dev_id=2 in thin pool metadata.\n  Failed to suspend thin snapshot origin vgw/a.", errdefs.ErrFailedPrecondition},
		{"promised_2.03.31", 5, "  device-mapper: reload ioctl on  (253:3) failed: No data available", errdefs.ErrDataLoss},
		{"pool_busy", 5, "  Device mos--killed-p-tpool (253:2) is used by another device.", errdefs.ErrFailedPrecondition},
		{"lock", 5, "  Can't get lock for vgw.", errdefs.ErrUnavailable},
		{"no_devices_file_2.03.31", 5, "  Devices file not found: /etc/lvm/devices/none.devices\n  Failed to set up devices.", errdefs.ErrNotFound},
		{"other", 5, "  Something else.", errdefs.ErrInternal},
		{"only_warnings", 5, "  WARNING: Volume group \"x\" not found", errdefs.ErrInternal},
	}
}

func TestErrorsHaveTheirClass(t *testing.T) {
	for _, tt := range recorded() {
		t.Run(tt.name, func(t *testing.T) {
			cause := &xexec.Error{Argv: []string{"lvm", "lvcreate", "--config=x"}, Code: tt.code, Stderr: strings.TrimSpace(tt.stderr), Err: errors.New("exit status")}
			err := lvm.MapError("create volume vgw/a", cause)
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want class %v", err, tt.want)
			}
			if !strings.HasPrefix(err.Error(), "create volume vgw/a: ") || strings.Contains(err.Error(), "--config") || strings.Contains(err.Error(), "\n") {
				t.Errorf("got the sentence %q", err)
			}
			if got := new(xexec.Error); !errors.As(err, &got) || got != cause {
				t.Error("the command's error is lost")
			}
		})
	}
}

func TestErrorsWithoutAnExitCodeAreUnavailable(t *testing.T) {
	for _, behind := range []error{context.DeadlineExceeded, context.Canceled, exec.ErrNotFound, errors.New("signal: killed")} {
		err := lvm.MapError("x", &xexec.Error{Argv: []string{"lvm", "lvs"}, Code: -1, Err: behind})
		if !errdefs.IsUnavailable(err) || !errors.Is(err, behind) {
			t.Errorf("got %v for %v", err, behind)
		}
	}
	if err := lvm.MapError("x", nil); err != nil {
		t.Error(err)
	}
	if err := lvm.MapError("x", context.Canceled); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestErrorNamesTheObjectAndWhatToDo(t *testing.T) {
	err := lvm.MapError("remove vg/a", &xexec.Error{Argv: []string{"lvm", "lvremove"}, Code: 5, Stderr: "WARNING: x\n  Logical volume vg/a contains a filesystem in use."})
	want := "remove vg/a: Logical volume vg/a contains a filesystem in use: unmount it in all mount namespaces first"
	if err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}
