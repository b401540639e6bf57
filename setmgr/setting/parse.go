package setting

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/near"
)

// Max is a value without limit.
const Max = "max"

// Parse is the value of a setting in the form in which it is kept: sizes in bytes,
// lists as the kernel writes them. An error is of class InvalidArgument.
func Parse(name, value string) (string, error) {
	s, err := Find(name)
	if err != nil {
		return "", err
	}
	out, err := s.parse(strings.TrimSpace(value))
	if err == nil {
		err = s.meant(out)
	}
	if err != nil {
		return "", fault.Invalid("%s: %w", name, err)
	}
	return out, nil
}

// Find is the setting of a name. An error is of class InvalidArgument, and says what
// may have been meant.
func Find(name string) (Setting, error) {
	for _, s := range Table() {
		if s.Name == name && !strings.Contains(name, "SIZE") {
			return s, nil
		}
		if huge, ok := s.hugeSize(name); ok {
			s.Name, s.V1 = name, strings.Replace(s.V1, "SIZE", huge, 1)
			return s, nil
		}
	}
	return Setting{}, fault.Invalid("there is no setting %.60q: %s", name, unknown(name))
}

var huge = regexp.MustCompile(`^hugetlb\.([1-9][0-9]*[KMG]B)\.`)

// hugeSize is the size in a name of the rows for huge pages.
func (s Setting) hugeSize(name string) (string, bool) {
	m := huge.FindStringSubmatch(name)
	if m == nil || strings.Replace(s.Name, "SIZE", m[1], 1) != name {
		return "", false
	}
	return m[1], true
}

// unknown says what to do about a name that is none.
func unknown(name string) string {
	plain := strings.ToLower(name)
	switch plain {
	case "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpus":
		return "Docker keeps that: docker update --cpus, or docker set resize"
	case "memory.max", "memory.limit_in_bytes", "memory":
		return "Docker keeps that: docker update --memory, or docker set resize"
	case "cpu.weight.nice":
		return "write cpu.weight, which is the same in other numbers"
	case "memory.memsw.limit_in_bytes":
		return "Docker keeps that: docker update --memory-swap"
	}
	for _, s := range Table() {
		if s.V1 == plain {
			return "that is its name on version 1: write " + s.Name
		}
	}
	if strings.HasPrefix(plain, "blkio.throttle.") {
		return "that is its name on version 1: write io.max"
	}
	if strings.HasPrefix(plain, "hugetlb.") {
		return "write the size of the pages as the kernel does, such as hugetlb.2MB.max or hugetlb.1GB.rsvd.max"
	}
	names := Names()
	short := make([]string, len(names)) // cpu.burst for cpu.max.burst
	for i, n := range names {
		short[i] = n[:strings.IndexByte(n, '.')] + n[strings.LastIndexByte(n, '.'):]
	}
	if k := near.Of(near.Fold(name), names); k != "" {
		return "did you mean " + k + "?"
	}
	if k := near.Of(near.Fold(name), short); k != "" {
		return "did you mean " + names[slices.Index(short, k)] + "?"
	}
	return "there are " + strings.Join(names, ", ")
}

// meant refuses values that the kernel takes and nobody means.
func (s Setting) meant(value string) error {
	if s.Name == "memory.high" && value == "0" {
		return errors.New("0 would stop all that is in it: give some memory, or max")
	}
	if m := huge.FindStringSubmatch(s.Name); m != nil && value != Max {
		page, err := units.RAMInBytes(m[1])
		if n, nerr := strconv.ParseInt(value, 10, 64); err == nil && nerr == nil && n%page != 0 {
			return fmt.Errorf("%s are no whole pages of %s", value, m[1])
		}
	}
	return nil
}

// Clash says which settings of one cgroup cannot be together. The values are those of
// [Parse]; an error is of class InvalidArgument.
func Clash(settings map[string]string) error {
	if _, both := settings["cpu.weight"]; both && settings["cpu.idle"] == "1" {
		return fault.Invalid("cpu.weight and cpu.idle: who is idle has no weight: drop one")
	}
	high, ok := settings["memory.high"]
	for _, name := range []string{"memory.min", "memory.low"} {
		if v, there := settings[name]; ok && there && Above(v, high) {
			return fault.Invalid("%s of %s is above memory.high of %s, from which on memory is taken back: lower it", name, v, high)
		}
	}
	return nil
}

// Above says whether a number, or max, is above another.
func Above(a, b string) bool {
	if b == Max || a == b {
		return false
	}
	x, aerr := strconv.ParseUint(a, 10, 64)
	y, berr := strconv.ParseUint(b, 10, 64)
	return berr == nil && (a == Max || aerr == nil && x > y)
}

func flag(v string) (string, error) { return oneOf("0", "1")(v) }

func oneOf(words ...string) func(string) (string, error) {
	return func(v string) (string, error) {
		if !slices.Contains(words, v) {
			return "", fmt.Errorf("%.60q is none of %s", v, strings.Join(words, ", "))
		}
		return v, nil
	}
}

func count(least, most uint64) func(string) (string, error) {
	return func(v string) (string, error) {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil || n < least || n > most {
			return "", fmt.Errorf("%.60q is no number from %d to %d", v, least, most)
		}
		return strconv.FormatUint(n, 10), nil
	}
}

func countOrMax(v string) (string, error) {
	if v == Max {
		return v, nil
	}
	const most = 1 << 22 // PID_MAX_LIMIT
	out, err := count(1, most)(v)
	if err != nil {
		err = fmt.Errorf("%w, nor max", err)
	}
	return out, err
}

func size(v string) (string, error) {
	if v == Max {
		return v, nil
	}
	n, err := units.RAMInBytes(v)
	if err != nil || n < 0 || v == "" || v[0] < '0' || v[0] > '9' {
		return "", fmt.Errorf("%.60q is no size such as 512m, nor max", v)
	}
	return strconv.FormatInt(n, 10), nil
}

// List is the numbers of a list such as 0-3,6.
func List(v string) ([]int, error) {
	const most = 8192
	var out []int
	for part := range strings.SplitSeq(v, ",") {
		from, to, is := strings.Cut(strings.TrimSpace(part), "-")
		if !is {
			to = from
		}
		a, aerr := strconv.ParseUint(from, 10, 16)
		b, berr := strconv.ParseUint(to, 10, 16)
		if aerr != nil || berr != nil || a > b || b >= most {
			return nil, fmt.Errorf("%.60q is no list such as 0-3,6", v)
		}
		for n := a; n <= b; n++ {
			out = append(out, int(n))
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// cpus is a list as the kernel writes it.
func cpus(v string) (string, error) {
	list, err := List(v)
	if err != nil {
		return "", err
	}
	var parts []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		part := strconv.Itoa(list[i])
		if j > i {
			part += "-" + strconv.Itoa(list[j])
		}
		parts, i = append(parts, part), j+1
	}
	return strings.Join(parts, ","), nil
}

// device refuses what names none.
func device(v string) error {
	major, minor, numbers := strings.Cut(v, ":")
	_, aerr := strconv.ParseUint(major, 10, 12)
	_, berr := strconv.ParseUint(minor, 10, 20)
	if numbers && aerr == nil && berr == nil || strings.HasPrefix(v, "/dev/") && !strings.Contains(v, "..") && len(v) < 256 {
		return nil
	}
	return fmt.Errorf("%.60q is no device: write /dev/NAME or MAJOR:MINOR", v)
}

// devices are entries such as "/dev/vda wbps=1m", with commas between them.
func devices(keys ...string) func(string) (string, error) {
	return func(v string) (string, error) {
		var entries, seen []string
		for entry := range strings.SplitSeq(v, ",") {
			words := strings.Fields(entry)
			if len(words) < 2 {
				return "", fmt.Errorf("%.60q is not of the form DEVICE %s=VALUE", entry, strings.Join(keys, "=VALUE "))
			}
			if err := device(words[0]); err != nil {
				return "", err
			}
			for i, w := range words[1:] {
				out, err := limit(w, keys)
				if err != nil {
					return "", err
				}
				key, _, _ := strings.Cut(out, "=")
				if slices.Contains(seen, words[0]+key) {
					return "", fmt.Errorf("%s of %s stands here twice", key, words[0])
				}
				seen, words[i+1] = append(seen, words[0]+key), out
			}
			entries = append(entries, strings.Join(words, " "))
		}
		return strings.Join(entries, ", "), nil
	}
}

// limit is one KEY=VALUE of a device.
func limit(w string, keys []string) (string, error) {
	key, value, is := strings.Cut(w, "=")
	if !is || !slices.Contains(keys, key) {
		return "", fmt.Errorf("%.60q is none of %s=VALUE", w, strings.Join(keys, "=VALUE, "))
	}
	parse := count(1, 1<<32-1) // operations are counted in 32 bits, microseconds by us
	if strings.HasSuffix(key, "bps") {
		parse = size
	}
	if value == Max {
		return w, nil
	}
	out, err := parse(value)
	if err == nil && out == "0" {
		err = errors.New("0 would stop all")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return key + "=" + out, nil
}

// weights are one for all devices, and ones for some: "200, /dev/vda 50".
func weights(v string) (string, error) {
	var entries, seen []string
	for entry := range strings.SplitSeq(v, ",") {
		words := strings.Fields(entry)
		if len(words) == 1 {
			words = []string{"default", words[0]}
		}
		if len(words) != 2 {
			return "", fmt.Errorf("%.60q is neither a weight nor DEVICE WEIGHT", entry)
		}
		w, err := count(1, 10000)(words[1])
		if err != nil {
			return "", err
		}
		if words[0] != "default" {
			if err := device(words[0]); err != nil {
				return "", err
			}
		}
		if slices.Contains(seen, words[0]) {
			return "", fmt.Errorf("the weight of %s stands here twice", words[0])
		}
		seen = append(seen, words[0])
		entries = append(entries, words[0]+" "+w)
	}
	return strings.Join(entries, ", "), nil
}
