package read

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/agent/metric"
)

// device is a block device with its four series from base on, in the order of
// their IDs, of the host with three more; one whose base is negative is not measured.
type device struct {
	major, minor uint64
	base         int
	latency      int // place of [metric.IOLatency], and of [metric.IOWait] behind it; 0 is none
}

// waits are the series that few kernels have values for.
func (s *Source) waits(d *device) int {
	if d.latency == 0 {
		name := s.Point.Series[d.base].Dim
		d.latency = s.Point.Add(metric.IOLatency, name)
		s.Point.Add(metric.IOWait, name)
	}
	return d.latency
}

// deviceAt finds the device "8:0" that a line begins with. Lines without one give nil.
func (s *Source) deviceAt(line []byte) (*device, []byte) {
	major, rest, ok := number(line)
	if !ok || len(rest) == 0 || rest[0] != ':' {
		return nil, nil
	}
	minor, rest, ok := number(rest[1:])
	if !ok {
		return nil, nil
	}
	d := s.device(major, minor)
	if d.base < 0 {
		return nil, nil
	}
	return d, rest
}

// device returns the device of these numbers, which it adds when it is not known.
func (s *Source) device(major, minor uint64) *device {
	for i := range s.devices {
		if d := &s.devices[i]; d.minor == minor && d.major == major {
			return d
		}
	}
	d := device{major: major, minor: minor, base: -1}
	if name, whole := deviceName(major, minor); s.group || whole {
		d.base = s.addFour(metric.IOReadBytes, name)
		for id := metric.IOReadTime; id <= metric.IOBusy && !s.group; id++ {
			s.Point.Add(id, name)
		}
	}
	s.devices = append(s.devices, d)
	return &s.devices[len(s.devices)-1]
}

// addFour adds series of a metric and the three that follow it in the table.
func (s *Source) addFour(first metric.ID, dim string) (base int) {
	base = s.Point.Add(first, dim)
	for id := first + 1; id < first+4; id++ {
		s.Point.Add(id, dim)
	}
	return base
}

// deviceName is the path below /dev by which people know a device: that of LVM for
// its volumes. whole says that the host counts it: neither a partition, whose disk
// is counted, nor a RAM disk or swap in RAM, nor a loop device, whose file is on a counted disk.
func deviceName(major, minor uint64) (name string, whole bool) {
	number := strconv.FormatUint(major, 10) + ":" + strconv.FormatUint(minor, 10)
	dir := "/sys/dev/block/" + number
	target, err := os.Readlink(dir)
	if err != nil {
		return number, false
	}
	const ram, loop = 1, 7
	_, err = os.Stat(dir + "/partition")
	whole = err != nil && major != ram && major != loop && !strings.HasPrefix(filepath.Base(target), "zram")
	if b, err := os.ReadFile(dir + "/dm/name"); err == nil {
		return "/dev/mapper/" + strings.TrimSpace(string(b)), whole
	}
	return "/dev/" + strings.ReplaceAll(filepath.Base(target), "!", "/"), whole
}
