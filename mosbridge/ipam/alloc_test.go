package ipam_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/mosbridge/ipam"
	"github.com/mosdocker/mosdocker/mosbridge/ipam/ipamtest"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

type world struct {
	*ipam.Allocator
	t     *testing.T
	store *ipamtest.Mem
}

func open(t *testing.T) world {
	t.Helper()
	s := &ipamtest.Mem{}
	a, err := ipam.New(ipam.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	return world{a, t, s}
}

// pool requests a pool and binds it, as a network's creation does.
func (w world) pool(prefix, sub string) ipam.PoolID {
	w.t.Helper()
	p, err := w.RequestPool(ipam.PoolRequest{Space: "s", Pool: prefix, SubPool: sub, V6: strings.Contains(prefix, ":")}, t0)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.Bind(p.ID(), "net-"+prefix); err != nil {
		w.t.Fatal(err)
	}
	return p.ID()
}

func (w world) get(id ipam.PoolID, r ipam.Request, now time.Time) string {
	w.t.Helper()
	l, err := w.RequestAddress(id, r, now)
	if err != nil {
		w.t.Fatal(err)
	}
	return l.Addr.String()
}

func (w world) release(id ipam.PoolID, addr string, now time.Time) {
	w.t.Helper()
	if err := w.ReleaseAddress(id, netip.MustParseAddr(addr), now); err != nil {
		w.t.Fatal(err)
	}
}

func mac(n int) spec.MAC { return spec.MAC{2, 0, 0, byte(n >> 16), byte(n >> 8), byte(n)} }

func named(s string, n int) ipam.Request { return ipam.Request{Name: s, MAC: mac(n)} }

func asked(s, addr string, n int) ipam.Request {
	return ipam.Request{Name: s, MAC: mac(n), Addr: netip.MustParseAddr(addr)}
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

func refused(t *testing.T, err, class error, words ...string) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Fatalf("got error %v, want one of class %v", err, class)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

func TestLifeOfANetworksAddresses(t *testing.T) {
	w := open(t)
	p, err := w.RequestPool(ipam.PoolRequest{Space: "s", Pool: "10.9.0.0/29"}, t0)
	if err != nil {
		t.Fatal(err)
	}
	id := p.ID()
	want(t, "gateway", w.get(id, ipam.Request{Gateway: true}, t0), "10.9.0.1")
	want(t, "auxiliary", w.get(id, ipam.Request{Addr: netip.MustParseAddr("10.9.0.3")}, t0), "10.9.0.3")
	if err := w.Bind(id, "n1"); err != nil {
		t.Fatal(err)
	}
	want(t, "first container", w.get(id, named("a", 1), t0), "10.9.0.2")
	want(t, "second container", w.get(id, named("b", 2), t0), "10.9.0.4")
	want(t, "asked for", w.get(id, asked("c", "10.9.0.6", 3), t0), "10.9.0.6")
	w.release(id, "10.9.0.2", t0.Add(1*time.Second))
	w.release(id, "10.9.0.6", t0.Add(1*time.Second))
	want(t, "never used goes before released", w.get(id, named("d", 4), t0), "10.9.0.5")
	want(t, "b comes back before anyone needs its address", w.get(id, named("b", 9), t0.Add(time.Hour)), "10.9.0.2")
	_, err = w.RequestAddress(id, named("e", 5), t0)
	refused(t, err, errdefs.ErrResourceExhausted, "10.9.0.0/29", "5 held and 1 kept")
	want(t, "the kept one is its owner's", w.get(id, named("c", 7), t0), "10.9.0.6")
	if err := w.ReleasePool(id); err != nil {
		t.Fatal(err)
	}
	if ls, ps := w.Leases(""), w.Pools(); len(ls)+len(ps) != 0 {
		t.Errorf("left over: %v %v", ls, ps)
	}
}

func TestBadPools(t *testing.T) {
	for _, tc := range []struct {
		pool, sub, says string
		v6              bool
	}{
		{pool: "10.0.0.5/24", says: "write 10.0.0.0/24"},
		{pool: "10.0.0.0/31", says: "too small"},
		{pool: "10.0.0.0/32", says: "too small"},
		{pool: "fd00::/127", v6: true, says: "too small"},
		{pool: "0.0.0.0/31", says: "too small"},
		{pool: "224.0.0.0/24", says: "not a range"},
		{pool: "fe80::/64", v6: true, says: "not a range"},
		{pool: "127.0.0.0/24", says: "not a range"},
		{pool: "fd00::/64", says: "family"},
		{pool: "10.0.0.0/24", v6: true, says: "family"},
		{pool: "ten", says: "not of the form"},
		{pool: strings.Repeat("1", 1<<16), says: "not of the form"},
		{sub: "10.0.0.0/25", says: "needs --subnet"},
		{pool: "10.0.0.0/24", sub: "10.0.1.0/25", says: "outside"},
		{pool: "10.0.0.0/24", sub: "10.0.0.0/23", says: "outside"},
		{pool: "10.0.0.0/24", sub: "fd00::/64", says: "outside"},
		{pool: "10.0.0.0/24", sub: "10.0.0.9/28", says: "write 10.0.0.0/28"},
		{pool: "10.0.0.0/24", sub: "10.0.0.255/32", says: "no address"},
		{pool: "10.0.0.0/24", sub: "x", says: "not of the form"},
	} {
		w := open(t)
		_, err := w.RequestPool(ipam.PoolRequest{Space: "s", Pool: tc.pool, SubPool: tc.sub, V6: tc.v6}, t0)
		refused(t, err, errdefs.ErrInvalidArgument, tc.says)
		if len(err.Error()) > 300 || len(w.Pools()) != 0 {
			t.Errorf("%.40s: error of %d bytes, pools %v", tc.pool, len(err.Error()), w.Pools())
		}
	}
	_, err := open(t).RequestPool(ipam.PoolRequest{Space: "s", Options: map[string]string{"vpc": "x"}}, t0)
	refused(t, err, errdefs.ErrInvalidArgument, `"vpc"`, "takes none")
	_, err = open(t).RequestPool(ipam.PoolRequest{Pool: "10.0.0.0/24"}, t0)
	refused(t, err, errdefs.ErrInvalidArgument, "address space")
}

func TestOverlappingPoolIsRefusedByName(t *testing.T) {
	w := open(t)
	w.pool("10.0.0.0/16", "")
	for _, p := range []string{"10.0.5.0/24", "10.0.0.0/8", "10.0.0.0/16"} {
		_, err := w.RequestPool(ipam.PoolRequest{Space: "s", Pool: p}, t0)
		refused(t, err, errdefs.ErrFailedPrecondition, p, "10.0.0.0/16", "network net-10.0.0.0")
	}
	if _, err := w.RequestPool(ipam.PoolRequest{Space: "other", Pool: "10.0.5.0/24"}, t0); err != nil {
		t.Errorf("another space: %v", err)
	}
}

// restarted is the allocator loaded anew from its store.
func (w world) restarted() world {
	w.t.Helper()
	a, err := ipam.New(ipam.Config{Store: w.store})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Allocator = a
	return w
}

func TestPoolOfACreationUnderWayIsNoOthers(t *testing.T) {
	w := open(t)
	r := ipam.PoolRequest{Space: "s", Pool: "10.0.0.0/24"}
	want := func(at time.Duration, well bool) {
		t.Helper()
		p, err := w.RequestPool(r, t0.Add(at))
		if well && (err != nil || !p.Since.Equal(t0)) {
			t.Errorf("after %s: got %v, %v, want the pool again", at, p, err)
		} else if !well {
			refused(t, err, errdefs.ErrFailedPrecondition, "a moment ago")
		}
	}
	want(0, true)
	want(time.Millisecond, false)
	want(ipam.Settle-1, false)
	want(ipam.Settle, true) // the first was given up
	want(ipam.Settle+1, false)
	w = w.restarted()
	want(ipam.Settle+2, true) // the answer may have been lost
	want(ipam.Settle+3, false)
}

func TestRepeatedPoolRequestGetsThePoolUntilBound(t *testing.T) {
	w := open(t)
	r := ipam.PoolRequest{Space: "s", Pool: "10.0.0.0/24"}
	for range 2 {
		w = w.restarted()
		if _, err := w.RequestPool(r, t0); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.RequestPool(r, t0.Add(ipam.Repeat))
	refused(t, err, errdefs.ErrFailedPrecondition, "docker mos net gc")
	if err := w.Bind("s/10.0.0.0/24", "n"); err != nil {
		t.Fatal(err)
	}
	_, err = w.RequestPool(r, t0)
	refused(t, err, errdefs.ErrFailedPrecondition, "network n")
	refused(t, w.Bind("s/10.0.0.0/24", "m"), errdefs.ErrFailedPrecondition, "network n")
	refused(t, w.Bind("s/10.0.1.0/24", "m"), errdefs.ErrNotFound)
}

func TestAnyPoolAvoidsPoolsAndRoutes(t *testing.T) {
	w := open(t)
	w.pool("10.200.0.0/24", "")
	busy := []netip.Prefix{netip.MustParsePrefix("10.200.1.128/30"), netip.MustParsePrefix("10.200.2.0/23"), netip.MustParsePrefix("fd6d:6f73:6272::/63")}
	for _, tc := range []struct {
		pool, want string
		v6         bool
	}{
		{"", "10.200.4.0/24", false},
		{"", "10.200.5.0/24", false},
		{"0.0.0.0/22", "10.200.8.0/22", false},
		{"", "fd6d:6f73:6272:2::/64", true},
	} {
		p, err := w.RequestPool(ipam.PoolRequest{Space: "s", Pool: tc.pool, V6: tc.v6, Busy: busy}, t0)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "pool", p.Prefix.String(), tc.want)
	}
	_, err := w.RequestPool(ipam.PoolRequest{Space: "s", Busy: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, t0)
	refused(t, err, errdefs.ErrResourceExhausted, "10.200.0.0/14", "--subnet")
}

func TestBadAddresses(t *testing.T) {
	w := open(t)
	id := w.pool("10.0.0.0/24", "10.0.0.128/25")
	w.get(id, ipam.Request{Gateway: true, Addr: netip.MustParseAddr("10.0.0.1")}, t0)
	w.get(id, asked("web-7", "10.0.0.9", 7), t0)
	for addr, says := range map[string]string{
		"10.0.0.0": "network address", "10.0.0.255": "broadcast", "10.0.1.1": "outside", "fd00::1": "outside", "::ffff:10.0.0.4": "outside",
	} {
		_, err := w.RequestAddress(id, asked("x", addr, 1), t0)
		refused(t, err, errdefs.ErrInvalidArgument, addr, says)
	}
	for addr, says := range map[string]string{"10.0.0.1": "the gateway", "10.0.0.9": "held by container web-7, MAC address 02:00:00:00:00:07 since 2026-01-02T03:04:05Z"} {
		_, err := w.RequestAddress(id, asked("x", addr, 1), t0)
		refused(t, err, errdefs.ErrFailedPrecondition, addr, says)
		var taken *ipam.TakenError
		if !errors.As(err, &taken) || taken.Lease.Addr.String() != addr {
			t.Errorf("%v is no TakenError with the lease", err)
		}
	}
	_, err := w.RequestAddress("s/10.7.0.0/24", ipam.Request{}, t0)
	refused(t, err, errdefs.ErrNotFound, "10.7.0.0/24")
	w.release("s/10.7.0.0/24", "10.7.0.3", t0)
	w.release(id, "10.0.0.77", t0)
	w.release(id, "10.9.0.77", t0)
}

func TestSubPoolIsOnlyForChoosing(t *testing.T) {
	w := open(t)
	id := w.pool("10.0.0.0/24", "10.0.0.254/31")
	want(t, "gateway", w.get(id, ipam.Request{Gateway: true}, t0), "10.0.0.1")
	want(t, "asked for outside", w.get(id, asked("a", "10.0.0.5", 1), t0), "10.0.0.5")
	want(t, "chosen", w.get(id, named("b", 2), t0), "10.0.0.254")
	_, err := w.RequestAddress(id, named("c", 3), t0)
	refused(t, err, errdefs.ErrResourceExhausted, "10.0.0.254/31")
}

func TestSameRequestGetsTheSameLease(t *testing.T) {
	w := open(t)
	id := w.pool("10.0.0.0/24", "")
	later := t0.Add(time.Hour)
	for _, r := range []ipam.Request{{Gateway: true}, named("a", 1), asked("b", "10.0.0.9", 2)} {
		first := w.get(id, r, t0)
		applied := w.store.Applied
		want(t, "again", w.get(id, r, later), first)
		if w.store.Applied != applied {
			t.Errorf("a repeat of %+v wrote to the store", r)
		}
	}
	first := w.get(id, named("", 5), t0)
	want(t, "nameless, at once", w.get(id, named("", 5), t0.Add(time.Second)), first)
	if again := w.get(id, named("", 5), later); again == first {
		t.Errorf("a second nameless container with the MAC of a running one got its address %s", again)
	}
	_, err := w.RequestAddress(id, asked("b", "10.0.0.9", 3), t0)
	refused(t, err, errdefs.ErrFailedPrecondition, "container b")
}

func TestAddressesAreSticky(t *testing.T) {
	w := open(t)
	id := w.pool("10.0.0.0/24", "")
	a, b := w.get(id, named("a", 1), t0), w.get(id, named("", 2), t0)
	c := w.get(id, asked("c", "10.0.0.40", 3), t0)
	for _, x := range []string{a, b, c} {
		w.release(id, x, t0)
	}
	for i := range 100 {
		w.get(id, named(fmt.Sprint("other", i), 100+i), t0)
	}
	want(t, "by name", w.get(id, named("a", 50), t0), a)
	want(t, "by MAC", w.get(id, named("", 2), t0), b)
	want(t, "kept by name", w.get(id, named("c", 51), t0), c)
	w.release(id, c, t0)
	want(t, "kept goes to whoever asks for it", w.get(id, asked("d", c, 52), t0), c)
	if got := w.get(id, named("a", 60), t0); got == a {
		t.Errorf("a namesake got the address %s that is held", got)
	}
}

func TestLongestReleasedIsChosenFirst(t *testing.T) {
	w := open(t)
	id := w.pool("10.0.0.0/29", "")
	for i := range 6 {
		w.get(id, named(strconv.Itoa(i), i+1), t0)
	}
	for i, a := range []string{"10.0.0.5", "10.0.0.2", "10.0.0.6"} {
		w.release(id, a, t0.Add(time.Duration(i)*time.Second))
	}
	for i, a := range []string{"10.0.0.5", "10.0.0.2", "10.0.0.6"} {
		want(t, "in order of release", w.get(id, named(fmt.Sprint("n", i), 10+i), t0), a)
	}
}

func TestForget(t *testing.T) {
	w := open(t)
	id := w.pool("10.0.0.0/30", "")
	addr := netip.MustParseAddr("10.0.0.2")
	w.get(id, ipam.Request{Gateway: true}, t0)
	w.get(id, asked("a", "10.0.0.2", 1), t0)
	refused(t, w.Forget(id, addr), errdefs.ErrFailedPrecondition, "container a")
	w.release(id, "10.0.0.2", t0)
	_, err := w.RequestAddress(id, named("b", 2), t0)
	refused(t, err, errdefs.ErrResourceExhausted, "1 kept")
	if err := w.Forget(id, addr); err != nil {
		t.Fatal(err)
	}
	want(t, "forgotten", w.get(id, named("b", 2), t0), "10.0.0.2")
	w.release(id, "10.0.0.2", t0)
	refused(t, w.Forget(id, netip.MustParseAddr("10.0.0.3")), errdefs.ErrNotFound, "10.0.0.3")
	refused(t, w.Forget("s/1.2.3.0/24", addr), errdefs.ErrNotFound, "1.2.3.0")
}

func TestLargeIPv6PoolCostsNothing(t *testing.T) {
	w := open(t)
	id := w.pool("fd00::/8", "")
	want(t, "gateway", w.get(id, ipam.Request{Gateway: true}, t0), "fd00::1")
	want(t, "first", w.get(id, named("a", 1), t0), "fd00::2")
	want(t, "last", w.get(id, asked("b", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 2), t0), "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
}

func TestFailedStoreChangesNothing(t *testing.T) {
	w := open(t)
	id := w.pool("10.0.0.0/29", "")
	held := w.get(id, named("a", 1), t0)
	before := fmt.Sprint(w.Pools(), w.Leases(""))
	w.store.Fail = true
	_, e1 := w.RequestPool(ipam.PoolRequest{Space: "s", Pool: "10.1.0.0/24"}, t0)
	_, e2 := w.RequestAddress(id, named("b", 2), t0)
	_, e3 := w.Collect(t0, 0, func(ipam.Lease) bool { return false })
	_, e4 := w.Collect(t0.Add(time.Hour), 0, func(ipam.Lease) bool { return false })
	for i, err := range []error{e1, e2, w.ReleasePool(id), w.ReleaseAddress(id, netip.MustParseAddr(held), t0), e4} {
		refused(t, err, ipamtest.ErrFull)
		if after := fmt.Sprint(w.Pools(), w.Leases("")); after != before {
			t.Errorf("failure %d changed\n%s to\n%s", i, before, after)
		}
	}
	if e3 != nil {
		t.Errorf("marking wrote to the store: %v", e3)
	}
	w.store.Fail = false
	want(t, "then", w.get(id, named("b", 2), t0), "10.0.0.2")
}

func TestCollectNeedsTwoLooks(t *testing.T) {
	w := open(t)
	id := w.pool("10.0.0.0/24", "")
	w.get(id, ipam.Request{Gateway: true}, t0)
	w.get(id, named("a", 1), t0)
	w.get(id, asked("b", "10.0.0.9", 2), t0)
	w.get(id, named("c", 3), t0)
	known := func(l ipam.Lease) bool { return l.Name == "c" }
	look := func(after time.Duration) int {
		t.Helper()
		ls, err := w.Collect(t0.Add(after), time.Minute, known)
		if err != nil {
			t.Fatal(err)
		}
		return len(ls)
	}
	for _, s := range []struct {
		after time.Duration
		want  int
	}{{0, 0}, {59 * time.Second, 0}, {60 * time.Second, 2}, {61 * time.Second, 0}, {100 * time.Second, 0}, {121 * time.Second, 1}, {300 * time.Second, 0}} {
		if got := look(s.after); got != s.want {
			t.Errorf("after %s: collected %d, want %d", s.after, got, s.want)
		}
	}
	var left []string
	for _, l := range w.Leases(id) {
		left = append(left, l.Addr.String())
	}
	want(t, "left", strings.Join(left, " "), "10.0.0.1 10.0.0.3")
}

func TestCollectSparesWhatChanged(t *testing.T) {
	w := open(t)
	id := w.pool("10.0.0.0/24", "")
	addr := w.get(id, named("a", 1), t0)
	none := func(ipam.Lease) bool { return false }
	if _, err := w.Collect(t0, time.Minute, none); err != nil {
		t.Fatal(err)
	}
	w.release(id, addr, t0.Add(time.Second))
	w.get(id, named("a", 2), t0.Add(2*time.Second))
	ls, err := w.Collect(t0.Add(time.Minute), time.Minute, none)
	if err != nil || len(ls) != 0 {
		t.Errorf("collected %v, %v", ls, err)
	}
}

func TestCollectPoolsTakesOrphansOnly(t *testing.T) {
	w := open(t)
	w.pool("10.0.0.0/24", "")
	w.pool("10.3.0.0/24", "") // its network was collected
	for _, p := range []string{"10.1.0.0/24", "10.2.0.0/24"} {
		if _, err := w.RequestPool(ipam.PoolRequest{Space: "s", Pool: p}, t0); err != nil {
			t.Fatal(err)
		}
	}
	known := func(p ipam.Pool) bool {
		return p.Prefix.String() == "10.2.0.0/24" || p.Network == "net-10.0.0.0/24"
	}
	for i, n := range []int{0, 0, 2, 0} {
		ps, err := w.CollectPools(t0.Add(time.Duration(i)*30*time.Second), time.Minute, known)
		if err != nil || len(ps) != n {
			t.Errorf("look %d: %v, %v", i, ps, err)
		}
	}
	if len(w.Pools()) != 2 {
		t.Errorf("left: %v", w.Pools())
	}
}

func TestPastIsForgottenBeyondItsLimit(t *testing.T) {
	w := open(t)
	id := w.pool("10.0.0.0/16", "")
	const n = ipam.MaxPast + 10
	released := map[string]int{}
	for i := range n {
		a := w.get(id, named(strconv.Itoa(i), i+1), t0.Add(time.Duration(i)*time.Second))
		w.release(id, a, t0.Add(time.Duration(i)*time.Second))
		released[a] = i
	}
	_, leases, err := w.store.Load()
	if err != nil || len(leases) != ipam.MaxPast {
		t.Errorf("the store has %d leases, want %d (%v)", len(leases), ipam.MaxPast, err)
	}
	if a := w.get(id, named("new", 1<<20), t0); n-released[a] < ipam.MaxPast {
		t.Errorf("%s was released %d releases ago and is in use again", a, n-released[a])
	}
}

func TestAddressOfAnEndpointThatIsGone(t *testing.T) {
	w := open(t)
	id := w.pool("10.0.0.0/29", "")
	soon, later := t0.Add(ipam.Repeat-1), t0.Add(ipam.Repeat)
	dyn := w.get(id, named("dyn", 1), t0)
	w.get(id, asked("", "10.0.0.5", 2), t0)
	w.get(id, named("live", 3), t0)
	gone := func(r ipam.Request) ipam.Request {
		r.Gone = func(l ipam.Lease) bool {
			if l.Kind != ipam.Endpoint || l.State != ipam.Held {
				t.Errorf("asked about %v", l)
			}
			return l.Name != "live"
		}
		return r
	}
	_, err := w.RequestAddress(id, gone(asked("", "10.0.0.5", 9)), soon)
	refused(t, err, errdefs.ErrFailedPrecondition, "10.0.0.5")
	_, err = w.RequestAddress(id, asked("", "10.0.0.5", 9), later)
	refused(t, err, errdefs.ErrFailedPrecondition, "10.0.0.5")
	want(t, "asked for", w.get(id, gone(asked("", "10.0.0.5", 9)), later), "10.0.0.5")
	want(t, "by name", w.get(id, gone(named("dyn", 8)), later), dyn)
	for i := range 3 {
		w.get(id, gone(named("", 20+i)), later)
	}
	_, err = w.RequestAddress(id, gone(named("last", 30)), later)
	refused(t, err, errdefs.ErrResourceExhausted)
	want(t, "of a full pool", w.get(id, gone(named("last", 30)), later.Add(ipam.Repeat)), "10.0.0.1")
}
