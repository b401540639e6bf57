package authz

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mosdocker/mosdocker/authz/api"
	"github.com/mosdocker/mosdocker/authz/judge"
	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/authz/request"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/internal/version"
)

// Daemon guards one Engine.
type Daemon struct {
	cfg     Config
	log     *logx.Logger
	metrics *metrics
	engine  *engine
	audit   *auditLog
	shares  *shares
	secret  string // see doc.go

	inForce atomic.Pointer[force]
	mu      sync.Mutex // guards all below
	seen    string     // stamp of the policy file that was read last
	broken  error      // why it is not in force
}

// force is a policy and when it came into force. Without one, everything is denied.
type force struct {
	*policy.Policy
	hash  string
	since time.Time
}

// Open makes a daemon. A policy that cannot be read is no error: the daemon then
// denies everything, and says why.
func Open(cfg Config, log *logx.Logger) (*Daemon, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	d := &Daemon{cfg: cfg, log: log, metrics: newMetrics(), shares: newShares(), secret: rand.Text()}
	d.engine = newEngine(cfg, d.secret)
	var err error
	if d.audit, err = openAudit(cfg); err != nil {
		return nil, err
	}
	if err := d.Reload(); err != nil {
		log.Error("everything is denied: there is no policy", "err", err)
	}
	return d, nil
}

// Close ends what Open made.
func (d *Daemon) Close() error {
	d.engine.close()
	for _, l := range d.shares.sweep(true) {
		d.tell(l)
	}
	return d.audit.close()
}

// Reload reads the policy file. When it is wrong, the policy before it stays.
func (d *Daemon) Reload() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = stamp(d.cfg.Policy)
	text, err := readTrusted(d.cfg.Policy)
	var p *policy.Policy
	if err == nil {
		p, err = policy.Parse(d.cfg.Policy, text)
	}
	d.broken = err
	if err != nil {
		d.metrics.reload(false)
		return err
	}
	sum := sha256.Sum256(text)
	d.inForce.Store(&force{p, hex.EncodeToString(sum[:8]), time.Now()})
	d.metrics.reload(true)
	return nil
}

// readTrusted reads a file that nobody but root, or who runs this process, can have
// written: whoever writes a policy can do what root can.
func readTrusted(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe without a writer would keep us for good
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fault.Conflict("%s is no regular file", path)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || fi.Mode().Perm()&0o022 != 0 || st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return nil, fault.Conflict("%s can be written by others than root: chown root and chmod go-w it", path)
	}
	return io.ReadAll(f)
}

// stamp tells one state of a file from another.
func stamp(path string) string {
	fi, err := os.Stat(path)
	if err != nil {
		return "absent"
	}
	return fmt.Sprint(fi.ModTime().UnixNano(), fi.Size(), fi.Sys())
}

// Run looks at the policy file until ctx ends; now and then is a reload that was
// asked for by a signal.
func (d *Daemon) Run(ctx context.Context, now <-chan os.Signal) {
	tick := time.NewTicker(d.cfg.Interval.Duration)
	defer tick.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-now:
			asked = true
		case <-tick.C:
			for _, l := range d.shares.sweep(false) {
				d.tell(l)
			}
		}
		d.mu.Lock()
		changed := stamp(d.cfg.Policy) != d.seen
		d.mu.Unlock()
		if !asked && !changed {
			continue
		}
		_ = d.reload(ctx) // which is in the log
	}
}

// reload is [Daemon.Reload], told in the log.
func (d *Daemon) reload(ctx context.Context) error {
	if err := d.Reload(); err != nil {
		d.log.ErrorContext(ctx, "the policy file is wrong, the policy before it stays in force", "err", err)
		return err
	}
	d.log.InfoContext(ctx, "policy in force", "file", d.cfg.Policy, "hash", d.inForce.Load().hash)
	return nil
}

// decide judges a request and notes the decision.
func (d *Daemon) decide(ctx context.Context, front judge.Front, who policy.Who, raw request.Raw) judge.Verdict {
	start := time.Now()
	return d.noted(ctx, start, front, who, raw, d.judge(ctx, front, who, raw))
}

// base decides on an image that a build reads, and returns what is to name it.
func (d *Daemon) base(ctx context.Context, who policy.Who, ref string) (string, error) {
	start := time.Now()
	f := d.inForce.Load()
	if f == nil {
		return "", fault.Unavailable("there is no policy in force")
	}
	a := &asker{ctx: ctx, limit: d.cfg.Lookup.Duration, engine: d.engine}
	defer a.end()
	id, v := judge.Base(f.Policy, who, ref, a)
	v = d.noted(ctx, start, judge.Proxy, who, request.Raw{Method: http.MethodPost, URI: "/build"}, v)
	switch {
	case !v.Allow:
		return "", fault.Conflict("%s [%s]", v.Reason, v.Rule)
	case v.Denied: // the mode lets it through since a moment
		return ref, nil
	}
	return id, nil
}

// noted counts and tells a decision, and takes it back where it must be noted and cannot.
func (d *Daemon) noted(ctx context.Context, start time.Time, front judge.Front, who policy.Who, raw request.Raw, v judge.Verdict) judge.Verdict {
	took := time.Since(start)
	d.metrics.decided(front, v, took)
	if err := d.audit.note(start, took, front, who, raw, v); err != nil {
		d.log.ErrorContext(ctx, "a decision was not noted", "err", err)
		if d.cfg.Audit.Required && v.Allow {
			v.Allow, v.Denied, v.Rule, v.Reason = false, true, "audit", "the decision cannot be noted in the audit log"
		}
	}
	switch {
	case v.Denied && !v.Allow:
		d.log.DebugContext(ctx, "denied", "who", who.String(), "action", v.Action, "object", v.Object, "rule", v.Rule, "reason", v.Reason)
	case v.Denied && v.Mode == policy.Warn:
		d.log.WarnContext(ctx, "would be denied", "who", who.String(), "action", v.Action, "object", v.Object, "rule", v.Rule, "reason", v.Reason)
	}
	return v
}

// judge is a decision; a panic is a refusal.
func (d *Daemon) judge(ctx context.Context, front judge.Front, who policy.Who, raw request.Raw) (v judge.Verdict) {
	defer func() {
		if p := recover(); p != nil {
			d.log.ErrorContext(ctx, "a decision broke", "panic", p)
			v = judge.Verdict{Denied: true, Mode: policy.Enforce, Rule: "broken", Reason: "the decision broke inside: see the log of mos-authz"}
		}
	}()
	f := d.inForce.Load()
	if f == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		return judge.Verdict{Denied: true, Mode: policy.Enforce, Rule: "policy", Reason: fmt.Sprintf("there is no policy in force: the administrator must mend it: %v", d.broken)}
	}
	a := &asker{ctx: ctx, limit: d.cfg.Lookup.Duration, engine: d.engine}
	defer a.end()
	return judge.Judge(f.Policy, front, who, raw, a)
}

// status is how the daemon is.
func (d *Daemon) status(ctx context.Context) api.Status {
	s := api.Status{Version: version.String(), Policy: d.cfg.Policy, Listen: d.cfg.Listen, Audit: d.cfg.Audit.File}
	if f := d.inForce.Load(); f != nil {
		s.Hash, s.Since = f.hash, f.since
	}
	if d.cfg.Listen != "" {
		s.Shut = shut(d.cfg.Listen, d.cfg.Group)
	}
	d.mu.Lock()
	if d.broken != nil {
		s.Error = d.broken.Error()
	}
	d.mu.Unlock()
	const told = 5 * time.Second // an Engine that hangs is told of, too
	ctx, cancel := context.WithTimeout(ctx, min(told, d.cfg.Lookup.Duration))
	defer cancel()
	v, err := d.engine.version(ctx)
	if err != nil {
		s.Warning = err.Error()
		return s
	}
	s.Engine = v
	if ungated(v) {
		s.Warning = "this Engine serves gRPC on its own socket, about which it asks no plugin: let users reach the guarded socket only"
	}
	return s
}
