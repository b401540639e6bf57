package authz

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/authz/judge"
	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/authz/request"
)

// Line is a line of the audit log. It has names of objects, and of a request its
// path: never its parameters, headers or body, where secrets are.
type Line struct {
	Time     time.Time `json:"time"`
	Front    string    `json:"front"` // plugin or socket
	Who      string    `json:"who"`
	Subject  string    `json:"subject,omitempty"`
	Profile  string    `json:"profile,omitempty"`
	Method   string    `json:"method"`
	Path     string    `json:"path"`
	Action   string    `json:"action,omitempty"`
	Object   string    `json:"object,omitempty"`
	Decision string    `json:"decision"` // allow, deny, or in modes that let through warn and audit
	Rule     string    `json:"rule,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Took     int64     `json:"took_us"`
	Times    int64     `json:"times,omitempty"` // of refusals by a limit of requests or connections, since the last line about its user
}

// auditLog is a file that is rotated. A nil one notes nothing.
type auditLog struct {
	path string
	most int64
	keep int

	mu   sync.Mutex // guards all below
	f    *os.File
	size int64
}

func openAudit(cfg Config) (*auditLog, error) {
	if cfg.Audit.File == "" {
		return nil, nil //nolint:nilnil // it may be written to
	}
	a := &auditLog{path: cfg.Audit.File, most: cfg.Audit.Size, keep: cfg.Audit.Keep}
	if err := os.MkdirAll(filepath.Dir(a.path), 0o750); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return a, a.open()
}

func (a *auditLog) open() error {
	f, err := os.OpenFile(a.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640) //nolint:gosec // its group may read
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	fi, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("audit log: %w", err), f.Close())
	}
	a.f, a.size = f, fi.Size()
	return nil
}

func (a *auditLog) close() error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.f.Close()
}

func decision(v judge.Verdict) string {
	switch {
	case !v.Denied:
		return "allow"
	case v.Allow:
		return string(v.Mode)
	}
	return "deny"
}

func frontName(f judge.Front) string {
	if f == judge.Proxy {
		return "socket"
	}
	return "plugin"
}

// note writes the line of a decision.
func (a *auditLog) note(at time.Time, took time.Duration, front judge.Front, who policy.Who, raw request.Raw, v judge.Verdict) error {
	if a == nil {
		return nil
	}
	path, _, _ := strings.Cut(raw.URI, "?")
	reason := ""
	if v.Denied && v.Rule != "request" { // whose words may quote what was sent
		reason = v.Reason
	}
	return a.write(&Line{
		Time: at.UTC(), Front: frontName(front), Who: clip(who.String()), Subject: v.Subject, Profile: v.Profile, Method: clip(raw.Method), Path: clip(path),
		Action: v.Action, Object: clip(v.Object), Decision: decision(v), Rule: v.Rule, Reason: reason, Took: took.Microseconds(),
	})
}

func (a *auditLog) write(l *Line) error {
	if a == nil {
		return nil
	}
	line, err := json.Marshal(l)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.size > 0 && a.size+int64(len(line))+1 > a.most {
		if err := a.rotate(); err != nil {
			return err
		}
	}
	n, err := a.f.Write(append(line, '\n'))
	a.size += int64(n)
	return err
}

// rotate gives the file the name FILE.1, that one FILE.2, and so on.
func (a *auditLog) rotate() error {
	name := func(n int) string {
		if n == 0 {
			return a.path
		}
		return a.path + "." + strconv.Itoa(n)
	}
	for n := a.keep; n > 0; n-- {
		if err := os.Rename(name(n-1), name(n)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("rotate the audit log: %w", err)
		}
	}
	if a.keep == 0 {
		if err := os.Remove(a.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("rotate the audit log: %w", err)
		}
	}
	old := a.f
	if err := a.open(); err != nil {
		return err
	}
	return old.Close()
}

// clip shortens what a client sent.
func clip(s string) string {
	const most = 300
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
