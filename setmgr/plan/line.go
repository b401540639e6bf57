package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/setmgr/label"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// String is a line a step, with its cause.
func (p Plan) String() string {
	var b strings.Builder
	for _, s := range p.Steps {
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}

func (s Step) String() string {
	out := strconv.Itoa(s.ID)
	if len(s.Needs) > 0 {
		out += fmt.Sprint(" after ", strings.Trim(fmt.Sprint(s.Needs), "[]"))
	}
	out += ": " + string(s.Op) + " " + s.Name
	if d := s.detail(); d != "" {
		out += " (" + d + ")"
	}
	return out + ": " + s.Cause
}

func (s Step) detail() string {
	switch s.Op {
	case SetCap, Limit:
		return s.Limits.String()
	case Policy:
		return s.Policy
	case Rename:
		return "to " + s.NewName
	case Wait:
		return s.waitsFor()
	case Hook:
		return strings.Join(s.Cmd, " ")
	case Settle:
		return time.Duration(s.For).String()
	case Create:
		return s.Create.Config.Image
	case Put:
		return s.paths()
	case LoadInfra, Pull, MakeVolume, DropCap, Start, StopOne, Kill, RemoveOne, Connect, Disconnect, Grow, DropVolume:
	}
	return ""
}

func (s Step) waitsFor() string {
	switch {
	case s.Once:
		return "its end"
	case s.Probe == nil && s.Maybe:
		return "healthy, if it has a health check"
	case s.Probe == nil:
		return "healthy"
	case len(s.Probe.Exec) > 0:
		return "exec " + strings.Join(s.Probe.Exec, " ")
	case s.Probe.HTTP != nil:
		return fmt.Sprintf("http port %d %s", s.Probe.HTTP.Port, s.Probe.HTTP.Path)
	}
	return fmt.Sprintf("tcp port %d", s.Probe.TCP)
}

// Lines are the steps as lines of docker, to be run by sh in this order; what
// docker cannot do is a comment.
func (p Plan) Lines() []string {
	var out []string
	for _, s := range p.Steps {
		out = append(out, s.line(p.Set))
	}
	return out
}

func (s Step) line(set string) string {
	docker := func(args ...string) string { return render.Line(append([]string{"docker"}, args...)) }
	switch s.Op {
	case LoadInfra:
		return "# load " + s.Name + ", our image of infra containers: docker set up does it"
	case Pull:
		return docker("pull", s.Name)
	case MakeVolume:
		return docker(volumeArgs(s, set)...)
	case SetCap:
		return fmt.Sprintf("# cgroup parent %s: %s", s.Name, s.Limits)
	case DropCap:
		return "# remove the cgroup parent " + s.Name
	case Create:
		return docker(s.Create.Args()...)
	case Put:
		return s.putLine()
	case Start, Kill:
		return docker(string(s.Op), s.Name)
	case Wait:
		return "# wait for " + s.Name + ": " + s.waitsFor()
	case Settle:
		return "sleep " + strconv.FormatFloat(time.Duration(s.For).Seconds(), 'g', -1, 64)
	case Hook:
		return docker(append([]string{"exec", s.Name}, s.Cmd...)...)
	case Limit:
		return docker(limitArgs(s)...)
	case Policy:
		return docker("update", "--restart="+s.Policy, s.Name)
	case StopOne:
		return docker(stopArgs(s)...)
	case Rename:
		return docker("rename", s.Name, s.NewName)
	case RemoveOne:
		return docker("rm", "--volumes", s.Name)
	case Connect:
		return docker(connectArgs(s)...)
	case Disconnect:
		return docker("network", "disconnect", s.Name, s.Container)
	case Grow:
		return docker("mos", "volume", "resize", s.Name, s.Volume.Size.String())
	case DropVolume:
		return docker("volume", "rm", s.Name)
	}
	return "# " + s.String()
}

// VolumeOptions are the driver and its options of a set's volume.
func VolumeOptions(v spec.Volume) (driver string, options map[string]string) {
	driver, options = v.Driver, maps.Clone(v.Options)
	if driver == "" {
		driver = "mos-lvm"
	}
	if v.Size > 0 {
		if options == nil {
			options = map[string]string{}
		}
		options["size"] = strconv.FormatUint(uint64(v.Size), 10)
	}
	return driver, options
}

func volumeArgs(s Step, set string) []string {
	driver, options := VolumeOptions(s.Volume)
	args := []string{"volume", "create", "--driver", driver, "--label", label.Set + "=" + set}
	for _, k := range slices.Sorted(maps.Keys(options)) {
		args = append(args, "--opt", k+"="+options[k])
	}
	return append(args, s.Name)
}

// Period is the period in which a quota of processors counts, in microseconds.
const Period = 100000

// Quota is an amount of cores as microseconds of each Period; -1 is no limit.
func Quota(c spec.Cores) int64 {
	if c == 0 {
		return -1
	}
	return int64(float64(c)*Period + 0.5)
}

func limitArgs(s Step) []string {
	args := []string{"update", fmt.Sprint("--cpu-period=", Period), fmt.Sprint("--cpu-quota=", Quota(s.Limits.CPU))}
	if m := uint64(s.Limits.MEM); m > 0 {
		args = append(args, fmt.Sprint("--memory=", m), fmt.Sprint("--memory-swap=", m))
	}
	return append(args, s.Name)
}

func stopArgs(s Step) []string {
	args := []string{"stop"}
	if s.Signal != "" {
		args = append(args, "--signal="+s.Signal)
	}
	if s.Grace != nil {
		args = append(args, fmt.Sprint("--time=", int(time.Duration(*s.Grace).Seconds()+0.5)))
	}
	return append(args, s.Name)
}

func connectArgs(s Step) []string {
	args := []string{"network", "connect"}
	for _, kv := range [][2]string{{"--ip", s.Net.IP}, {"--ip6", s.Net.IP6}} {
		if kv[1] != "" {
			args = append(args, kv[0]+"="+kv[1])
		}
	}
	for _, a := range s.Net.Aliases {
		args = append(args, "--alias="+a)
	}
	for _, k := range slices.Sorted(maps.Keys(s.Net.Options)) {
		args = append(args, "--driver-opt="+k+"="+s.Net.Options[k])
	}
	return append(args, s.Name, s.Container)
}
