package firewall

import (
	"context"
	"log/slog"

	"github.com/mosdocker/mosdocker/internal/xexec"
)

// Config says what a [Firewall] works with.
type Config struct {
	Runner xexec.Runner // required
	Log    *slog.Logger // required
	// IPTables and IP6Tables are the programs that dockerd uses; "" means
	// iptables and ip6tables. A missing program means there is nothing of
	// Docker's to meet.
	IPTables, IP6Tables string
}

// Firewall puts a [State] into the kernel. Its methods may be called at once.
type Firewall struct{ cfg Config }

// New returns a Firewall; it touches nothing.
func New(c Config) *Firewall { return &Firewall{cfg: c} }

// Report is what Check found; the zero value says that all is there.
type Report struct {
	// Missing has one sentence for each thing that Apply would repair.
	Missing []string
}

// OK says that nothing is missing.
func (r Report) OK() bool { return len(r.Missing) == 0 }

// Apply makes the kernel's rules those of s, in one transaction, and forgets
// connections of UDP that lead to where no port leads any more. It is
// idempotent. An invalid state is refused whole with ErrInvalidArgument.
func (f *Firewall) Apply(ctx context.Context, s State) error { return nil }

// Check says what of s is missing in the kernel, without changing anything.
func (f *Firewall) Check(ctx context.Context, s State) (Report, error) { return Report{}, nil }

// Watch calls changed when somebody, we included, changed the nftables
// ruleset, at most five times a second, until ctx ends. It returns nil then.
// Rules of iptables-legacy make no such event: call Check from time to time.
func (f *Firewall) Watch(ctx context.Context, changed func()) error { return nil }

// Remove takes away all that Apply made. It is idempotent.
func (f *Firewall) Remove(ctx context.Context) error { return nil }

// Render is the nft script that replaces the table with that of s. It is the
// same for states that differ in order only. The state must be valid.
func Render(s State) string { return "" }

// Validate says what of the state would make no rule, with ErrInvalidArgument.
func (s State) Validate() error { return nil }
