package render

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-connections/nat"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// period is the period in which a quota of processors counts, in microseconds. An
// Engine takes no quota below minQuota.
const (
	period   = 100000
	minQuota = 1000
)

// hostConfig is what all containers of a set have. A container that was made with
// NanoCPUs could not be given a quota any more, and one whose memory and swap differ
// could not be resized.
func hostConfig(f Facts, s spec.Set, cpu spec.Cores, mem spec.Bytes, annotations map[string]string) *container.HostConfig {
	h := &container.HostConfig{}
	h.CgroupParent = Parent(f, s.Name)
	if cpu > 0 {
		h.CPUPeriod, h.CPUQuota = period, max(minQuota, int64(math.Round(float64(cpu)*period)))
	}
	h.Memory, h.MemorySwap = int64(mem), int64(mem)
	if f.AtLeast("1.43") {
		h.Annotations = maps.Clone(annotations)
	}
	return h
}

// shares is a container's weight among those of its set, 1024 being the whole set.
// 0 leaves it to the Engine.
func shares(part, whole spec.Cores) int64 {
	if part == 0 || whole == 0 {
		return 0
	}
	return min(max(int64(math.Round(float64(part/whole)*1024)), 2), 262144) // the kernel's bounds
}

// labels are the user's with ours, which win.
func labels(user, ours map[string]string) map[string]string {
	out := maps.Clone(user)
	if out == nil {
		return ours
	}
	maps.Copy(out, ours)
	return out
}

// lines are the pairs of m in the order of their keys.
func lines(m map[string]string, between string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+between+m[k])
	}
	return out
}

func addresses(what string, from []string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, s := range from {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fault.Invalid("%s: %.60q is not an IP address", what, s)
		}
		out = append(out, a)
	}
	return out, nil
}

// ports reads what docker run -p takes, by the same code.
func ports(s spec.Set) (network.PortSet, network.PortMap, error) {
	var exposed network.PortSet
	var published network.PortMap
	for _, line := range s.Ports {
		mappings, err := nat.ParsePortSpec(line)
		if err != nil {
			return nil, nil, fault.Invalid("port %.60q of set %s: %w", line, s.Name, err)
		}
		for _, m := range mappings {
			p, err := network.ParsePort(string(m.Port))
			if err != nil {
				return nil, nil, fault.Invalid("port %.60q of set %s: %w", line, s.Name, err)
			}
			b := network.PortBinding{HostPort: m.Binding.HostPort}
			if m.Binding.HostIP != "" {
				if b.HostIP, err = netip.ParseAddr(m.Binding.HostIP); err != nil {
					return nil, nil, fault.Invalid("port %.60q of set %s: %w", line, s.Name, err)
				}
			}
			if exposed == nil {
				exposed, published = network.PortSet{}, network.PortMap{}
			}
			exposed[p] = struct{}{}
			published[p] = append(published[p], b)
		}
	}
	return exposed, published, nil
}

// health is nil for what the image says.
func health(h *spec.Health) *container.HealthConfig {
	if h == nil {
		return nil
	}
	return &container.HealthConfig{
		Test: slices.Clone(h.Cmd), Interval: time.Duration(h.Interval), Timeout: time.Duration(h.Timeout),
		StartPeriod: time.Duration(h.StartPeriod), Retries: h.Retries,
	}
}

// capabilities are in the form in which newer clients send and print them.
func capabilities(from []string) []string {
	var out []string
	for _, c := range from {
		if c = strings.ToUpper(c); c != "ALL" && !strings.HasPrefix(c, "CAP_") {
			c = "CAP_" + c
		}
		out = append(out, c)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// restart is "always" by default, but what runs once must not be run again.
func restart(o spec.Options) (container.RestartPolicy, error) {
	name, count, counted := strings.Cut(o.Restart, ":")
	p := container.RestartPolicy{Name: container.RestartPolicyMode(name)}
	switch {
	case name == "" && o.Once, o.Backoff != nil: // mosd starts it again
		p.Name = container.RestartPolicyDisabled
	case name == "":
		p.Name = container.RestartPolicyAlways
	}
	if counted && o.Backoff == nil {
		n, err := strconv.Atoi(count)
		if err != nil {
			return p, fmt.Errorf("%.20q is no number of retries", count)
		}
		p.MaximumRetryCount = n
	}
	return p, container.ValidateRestartPolicy(p)
}

// Restart reads a restart policy as a spec has it: "always", "on-failure:3".
func Restart(policy string) (container.RestartPolicy, error) {
	return restart(spec.Options{Restart: policy})
}

func ulimits(from map[string]string) ([]*container.Ulimit, error) {
	var out []*container.Ulimit
	for _, line := range lines(from, "=") {
		u, err := units.ParseUlimit(line)
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, nil
}

// devices reads HOST[:CONTAINER][:MODE], and VENDOR/CLASS=NAME of the Container
// Device Interface, as docker does.
func devices(from []string) (out []container.DeviceMapping, cdi []container.DeviceRequest, err error) {
	var names []string
	for _, d := range from {
		if !strings.HasPrefix(d, "/") && strings.Contains(d, "/") && strings.Contains(d, "=") {
			names = append(names, d)
			continue
		}
		one, err := device(d)
		if err != nil {
			return nil, nil, err
		}
		out = append(out, one)
	}
	if names != nil {
		cdi = []container.DeviceRequest{{Driver: "cdi", DeviceIDs: names}}
	}
	return out, cdi, nil
}

func device(s string) (container.DeviceMapping, error) {
	d := container.DeviceMapping{CgroupPermissions: "rwm"}
	parts := strings.Split(s, ":")
	if last := parts[len(parts)-1]; len(parts) > 1 && isMode(last) {
		d.CgroupPermissions, parts = last, parts[:len(parts)-1]
	}
	d.PathOnHost, d.PathInContainer = parts[0], parts[len(parts)-1]
	if len(parts) > 2 || !path.IsAbs(d.PathOnHost) || !path.IsAbs(d.PathInContainer) {
		return d, fmt.Errorf("%.80q is not of the form /dev/HOST[:/dev/CONTAINER][:rwm]", s)
	}
	return d, nil
}

// isMode says whether s is letters of rwm, each once at most.
func isMode(s string) bool {
	left := "rwm"
	for _, c := range s {
		i := strings.IndexRune(left, c)
		if i < 0 {
			return false
		}
		left = left[:i] + left[i+1:]
	}
	return s != ""
}

var errSeccomp = errors.New("a seccomp profile in a file cannot be sent to the Engine: name unconfined or builtin, or make it the default in the Engine's daemon.json")

// security does what the docker command does before it sends these options.
func security(h *container.HostConfig, from []string) error {
	for _, opt := range from {
		name, value, _ := strings.Cut(opt, "=")
		switch {
		case opt == "systempaths=unconfined":
			h.MaskedPaths, h.ReadonlyPaths = []string{}, []string{}
			continue
		case name == "seccomp" && value != "unconfined" && value != "builtin":
			return errSeccomp
		}
		h.SecurityOpt = append(h.SecurityOpt, opt)
	}
	return nil
}
