package firewall

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/xexec"
)

// Config says what a [Firewall] works with.
type Config struct {
	Runner xexec.Runner // required
	Log    *slog.Logger // required
	// IPTables and IP6Tables are the programs that dockerd uses; "" means
	// iptables and ip6tables. A missing program means that there is nothing
	// of Docker's to meet. Beside each stands its -restore twin.
	IPTables, IP6Tables string
}

// Firewall puts a [State] into the kernel. Its methods may be called at once.
type Firewall struct {
	run    xexec.Runner
	log    *slog.Logger
	tables []string

	mu     sync.Mutex // guards all below, and makes changes one at a time
	script string     // of the last Apply
	digest [32]byte   // of the table as the kernel shows it after that
	arp    struct {   // the same of the table of family arp
		script string
		digest [32]byte
	}
	udp   string // the published ports of UDP at the last Apply
	known bool   // udp is set

	// passage is what of the state the rules of iptables were made from, ""
	// when they are not known to stand. Reading them takes two processes,
	// which is too much for each container that publishes a port.
	passage string
}

// New returns a Firewall; it touches nothing.
func New(c Config) *Firewall {
	return &Firewall{run: c.Runner, log: c.Log, tables: []string{cmp.Or(c.IPTables, "iptables"), cmp.Or(c.IP6Tables, "ip6tables")}}
}

// Report is what Check found; the zero value says that all is there.
type Report struct {
	// Missing has one sentence for each thing that Apply would repair.
	Missing []string
}

// OK says that nothing is missing.
func (r Report) OK() bool { return len(r.Missing) == 0 }

// Apply makes the kernel's rules those of s, in one transaction, and forgets
// connections of UDP that lead to where no port leads any more. It is
// idempotent, and leaves the ruleset untouched when it is as it should be. An
// invalid state is refused whole with ErrInvalidArgument. What somebody did to
// the rules of iptables or for ARP since the last Apply is repaired once Check
// found it.
func (f *Firewall) Apply(ctx context.Context, s State) error {
	if err := s.Validate(); err != nil {
		return fmt.Errorf("apply firewall: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.applyTable(ctx, s); err != nil {
		return fmt.Errorf("apply firewall: %w", err)
	}
	if err := f.applyARP(ctx, s); err != nil {
		return fmt.Errorf("keep the host from answering on uplinks: %w", err)
	}
	if err := f.applyPassages(ctx, s); err != nil {
		return fmt.Errorf("let gateways pass beside Docker's rules: %w", err)
	}
	if err := f.forgetUDP(ctx, s); err != nil {
		return fmt.Errorf("forget stale connections: %w", err)
	}
	return nil
}

// applyTable replaces our table unless it stands as s wants it.
func (f *Firewall) applyTable(ctx context.Context, s State) error {
	script := Render(s)
	if missing, err := f.tableMissing(ctx, script); err != nil || missing == "" {
		return err
	}
	f.script = ""
	if _, err := f.nft(ctx, script, "-f", "-"); err != nil {
		return err
	}
	digest, there, err := f.listing(ctx, "inet")
	if err != nil {
		return err
	}
	if want := !s.empty(); there != want {
		return fault.Of(errdefs.ErrAborted, "nft table inet %s is there: %t, want %t, right after it was written", Table, there, want)
	}
	f.script, f.digest = script, digest
	f.log.InfoContext(ctx, "firewall replaced", "networks", len(s.Networks), "ports", len(s.Ports))
	return nil
}

// applyARP replaces our table of family arp unless it was written as s wants it.
// It has calls of its own: a kernel may lack the family, which matters only
// where there are uplinks.
func (f *Firewall) applyARP(ctx context.Context, s State) error {
	script := RenderARP(s)
	if f.arp.script == script {
		return nil
	}
	f.arp.script = ""
	_, err := f.nft(ctx, script, "-f", "-")
	if len(s.Uplinks) > 0 {
		if err == nil {
			f.arp.digest, _, err = f.listing(ctx, "arp")
		}
		if err != nil {
			return err
		}
	} else if err != nil {
		f.log.DebugContext(ctx, "the kernel has no rules for arp", "err", err)
	}
	f.arp.script = script
	return nil
}

// arpMissing says what is wrong with that table, "" for nothing.
func (f *Firewall) arpMissing(ctx context.Context, s State) (string, error) {
	if len(s.Uplinks) == 0 {
		return "", nil
	}
	if f.arp.script != RenderARP(s) {
		return "nft table arp " + Table + " is not written yet", nil
	}
	digest, _, err := f.listing(ctx, "arp")
	if err == nil && digest != f.arp.digest {
		f.arp.script = ""
		return "nft table arp " + Table + " was changed by somebody", nil
	}
	return "", err
}

// tableMissing says what is wrong with our table, "" for nothing. A table of
// an earlier life of this process is wrong: what it should look like is only
// known from having written it.
func (f *Firewall) tableMissing(ctx context.Context, script string) (string, error) {
	switch f.script {
	case "":
		return "nft table inet " + Table + " is not written yet", nil
	case script:
	default:
		return "nft table inet " + Table + " is of another state", nil
	}
	digest, there, err := f.listing(ctx, "inet")
	switch {
	case err != nil:
		return "", err
	case !there && digest != f.digest:
		return "nft table inet " + Table + " is gone", nil
	case digest != f.digest:
		return "nft table inet " + Table + " was changed by somebody", nil
	}
	return "", nil
}

// listing is a digest of our table of a family, independent of the order in
// which the kernel shows the elements of a set.
func (f *Firewall) listing(ctx context.Context, family string) (digest [32]byte, there bool, err error) {
	out, err := f.nft(ctx, "", "-s", "list", "table", family, Table)
	if e := (*xexec.Error)(nil); errors.As(err, &e) && strings.Contains(e.Stderr, "No such file or directory") {
		return digest, false, nil
	}
	if err != nil {
		return digest, false, err
	}
	words := strings.FieldsFunc(string(out), func(r rune) bool { return strings.ContainsRune(" \t\n,", r) })
	slices.Sort(words)
	return sha256.Sum256([]byte(strings.Join(words, " "))), true, nil
}

func (f *Firewall) nft(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	out, err := f.run.Run(ctx, xexec.Cmd{Argv: append([]string{"nft"}, args...), Stdin: []byte(stdin)})
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fault.Conflict("install the package nftables: %w", err)
	}
	return out, err
}

// Check says what of s is missing in the kernel, without changing anything.
func (f *Firewall) Check(ctx context.Context, s State) (Report, error) {
	if err := s.Validate(); err != nil {
		return Report{}, fmt.Errorf("check firewall: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var r Report
	missing, err := f.tableMissing(ctx, Render(s))
	if err != nil {
		return r, fmt.Errorf("check firewall: %w", err)
	}
	if missing != "" {
		r.Missing = append(r.Missing, missing)
	}
	if missing, err = f.arpMissing(ctx, s); err != nil {
		return r, fmt.Errorf("check rules for arp: %w", err)
	}
	if missing != "" {
		r.Missing = append(r.Missing, missing)
	}
	for _, program := range f.tables {
		rules, ok, err := f.dockerRules(ctx, program)
		if err != nil {
			return r, fmt.Errorf("check rules beside Docker's: %w", err)
		}
		if ok && len(rules.change(s)) > 0 {
			f.passage = ""
			r.Missing = append(r.Missing, fmt.Sprintf("chain %s of %s is not as it should be", chain, program))
		}
	}
	return r, nil
}

// Remove takes away all that Apply made. It is idempotent.
func (f *Firewall) Remove(ctx context.Context) error { return f.Apply(ctx, State{}) }
