package policy

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

const small = `version = 1
[[who]]
name = "ops"
local = true
uid = [0]
profile = "operator"
[[who]]
name = "a"
gid = [2000]
cn = ["*.a.example"]
san = ["spiffe://x/*"]
profile = "web"
[profile.web]
based = "tenant"
mode = "warn"
[[profile.web.rule]]
deny = ["container.kill"]
labels = ["keep", "stage=prod"]
reason = "it is in production"
[[profile.web.rule]]
allow = ["container.logs"]
names = ["shared-*"]
[profile.web.limits]
memory = "8g"
privileged = true
capabilities = []
`

func must(t *testing.T, text string) *Policy {
	t.Helper()
	p, err := Parse("p.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSubjectsAreFoundByWhatIsKnownOfThem(t *testing.T) {
	p := must(t, small)
	for _, c := range []struct {
		who  Who
		want string
	}{
		{Who{}, "ops"},
		{Who{Unix: true}, "ops"},
		{Who{Unix: true, UID: 5}, ""},
		{Who{Unix: true, UID: 5, Groups: []uint32{5, 2000}}, "a"},
		{Who{CN: "web.a.example"}, "a"},
		{Who{CN: "a.example"}, ""},
		{Who{CN: "x", SAN: []string{"spiffe://x/y"}}, "a"},
	} {
		got := ""
		if s := p.Find(c.who); s != nil {
			got = s.Name
		}
		if got != c.want {
			t.Errorf("%+v: got %q, want %q", c.who, got, c.want)
		}
	}
	if o := p.Find(Who{CN: "w.a.example"}).Owner; o != "a" {
		t.Errorf("owner is %q, want the name", o)
	}
}

func TestFirstRuleThatFitsDecides(t *testing.T) {
	web := must(t, small).Profiles["web"]
	own := func(kind, name string, labels map[string]string) Object {
		return Object{Kind: kind, Name: name, Owner: "a", Labels: labels}
	}
	for _, c := range []struct {
		action string
		o      Object
		allow  bool
		rule   string
	}{
		{"container.kill", own("container", "x", map[string]string{"keep": "", "stage": "prod"}), false, "web: rule 1 (p.toml:16)"},
		{"container.kill", own("container", "x", map[string]string{"keep": "", "stage": "test"}), true, "tenant: rule 3"},
		{"container.kill", Object{Kind: "container", Name: "x", Owner: "b"}, false, "web: default"},
		{"container.kill", Object{Kind: "container", Name: "x"}, false, "web: default"},
		{"container.logs", Object{Kind: "container", Name: "shared-1", Owner: "b"}, true, "web: rule 2"},
		{"container.logs", Object{Kind: "container", Name: "my-shared-1", Owner: "b"}, false, "default"},
		{"container.export", own("container", "x", nil), false, "tenant: rule 1"},
		{"image.use", Object{Kind: "image", Name: "busybox"}, true, "tenant: rule 4"},
		{"image.use", Object{Kind: "image", Name: "b/x", Owner: "b"}, false, "default"},
		{"network.use", Object{Kind: "network", Name: "bridge"}, true, "tenant: rule 5"},
		{"network.use", Object{Kind: "network", Name: "host"}, false, "default"},
		{"plugin.disable", Object{}, false, "tenant: rule 1"},
	} {
		r := web.Decide(c.action, c.o, "a")
		if r.Allow != c.allow || !strings.Contains(r.Rule, c.rule) || !r.Allow && r.Reason == "" {
			t.Errorf("%s on %+v: got %+v", c.action, c.o, r)
		}
	}
}

func TestLimitsAreInheritedUntilNamed(t *testing.T) {
	l := must(t, small).Profiles["web"].Limits
	if l.MaxMemory() != 8<<30 || !Is(l.Privileged) || len(l.Capabilities) != 0 || l.MaxSHM() != 1<<30 || !In(l.VolumeDrivers, "mos-lvm") {
		t.Errorf("got %+v", l)
	}
	if web := must(t, small).Profiles["web"]; web.Mode != Warn || web.Infra {
		t.Errorf("got %+v", web)
	}
}

func TestSharesOfTheGuardedSocket(t *testing.T) {
	p := must(t, small+"requests = 0\nconnections = 7\n")
	for _, c := range []struct {
		who     Who
		share   string
		subject string
		mode    Mode
	}{
		{Who{Unix: true}, "none", "ops", Enforce}, // unlimited
		{Who{Unix: true, UID: 5, Groups: []uint32{2000}}, "7 connections", "a", Warn},
		{Who{Unix: true, UID: 5}, "500 requests a second, 2000 at once; 500 connections", "", Enforce},
	} {
		if s, subject, mode := p.Share(c.who); s.String() != c.share || subject != c.subject || mode != c.mode {
			t.Errorf("%s: got %s, %q, %s", c.who, s, subject, mode)
		}
	}
}

func TestReadyMadeProfiles(t *testing.T) {
	p := must(t, small)
	for profile, want := range map[string][2]string{ // what it may, and what not
		"open":     {"plugin.disable", ""},
		"operator": {"plugin.disable", ""},
		"readonly": {"container.inspect", "container.attach"},
		"tenant":   {"system.ping", "image.buildkit"},
		"ci":       {"image.buildkit", "plugin.install"},
	} {
		pr := p.Profiles[profile]
		if pr == nil {
			t.Fatalf("no profile %s", profile)
		}
		if !pr.Decide(want[0], Object{}, "x").Allow || want[1] != "" && pr.Decide(want[1], Object{}, "x").Allow {
			t.Errorf("%s may not %s, or may %s", profile, want[0], want[1])
		}
	}
}

func TestFaultsHaveTheirPlace(t *testing.T) {
	for _, c := range [][2]string{
		{"version = 1\nwho = [\n", "p.toml:2:"},
		{"version = 2\n[[who]]\nname='x'\nlocal=true\nprofile='open'", "p.toml:1:1: want version = 1"},
		{"version = 1\nmode = 'loud'\n[[who]]\nname='x'\nlocal=true\nprofile='open'", "p.toml:2:1: mode \"loud\""},
		{"version = 1\n[[who]]\nnome='x'\nlocal=true\nprofile='open'", "p.toml:3:1: there is no key who.nome"},
		{"version = 1\n[[who]]\nname='x'\nlocal=true\n  profile='opne'", "p.toml:5:3: there is no profile \"opne\""},
		{"version = 1\n[[who]]\nname='x'\nprofile='open'", "p.toml:2:3: x fits nobody"},
		{"version = 1", "want one [[who]]"},
		{"version = 1\n[profile.p]\nbased='q'\n[profile.q]\nbased='p'", "based on itself"},
		{"version = 1\n[profile.open]\nmode='audit'", "p.toml:2:2: profile open is ready-made"},
		{"version = 1\n[profile.p]\nrule=[{allow=['container.fly']}]", "p.toml:3:8: there is no action \"container.fly\"; there are container.attach"},
		{"version = 1\n[[profile.p.rule]]\nallow=['*']\ndeny=['*']", "p.toml:2:3: a rule has either"},
		{"version = 1\n[profile.p.limits]\nmemory='lots'", "p.toml:3:1: \"lots\" is no size"},
		{"version = 1\n[profile.p.limits]\nrequests=-1\nburst=0\nconnections=-2", "p.toml:3:1: want a number of requests"},
		{"version = 1\n[profile.p.limits]\nrequests=nan", "p.toml:3:1: want a number of requests"},
		{"version = 1\n[profile.p.limits]\nburst=0", "p.toml:3:1: want 1 request at once"},
		{"version = 1\n[profile.p.limits]\nconnections=-2", "p.toml:3:1: want 0 connections"},
		{"version = 1\n[profile.p.limits]\ncpus='two'", "p.toml:3:6: profile.p.limits.cpus: want a number, not a string"},
		{"version = 1\n[[profile.p.rule]]\nallow='*'", "p.toml:3:7: profile.p.rule.allow: want a list in brackets, not a string"},
		{"version = 1\n[profile.p.limits]\ncapabilities=['ALL', 'SYS_*', 'CAP_CHOWN', 'KILL']", "p.toml:3:1: there is no capability \"CAP_CHOWN\""},
		{"version = 1\n[profile.p.limits]\nhost_namespaces=['net']", "p.toml:3:1: there is no namespace \"net\""},
		{"version = 1\n[profile.p.limits]\nbinds=['srv/*']", "p.toml:3:1: \"srv/*\" is no absolute path"},
		{"version = 1\n[[who]]\nname='x'\nuid=[-1]\nprofile='open'", "p.toml:4:"},
		{"version = 1\n[[who]]\nname='x'\nuid=[1]\nowner='self'\nprofile='open'", "p.toml:5:1: owner \"self\""},
		{"version = 1\nmode='warn'\nmode='audit'", "p.toml:3:"},
		{"version = 1\n[[who]]\nname='x'\nlocal=true\nprofile='open'\n[profile.p]\nbased='z'", "p.toml:7:1: there is no profile \"z\" to base"},
	} {
		text, want := c[0], c[1]
		_, err := Parse("p.toml", []byte(text))
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestAllFaultsAreToldInTheirOrder(t *testing.T) {
	_, err := Parse("p.toml", []byte("version = 1\n[[who]]\nname='x'\nuid=[1]\nprofile='y'\n[profile.p.limits]\nmemory='z'\n"))
	if err == nil || strings.Index(err.Error(), "p.toml:5:") > strings.Index(err.Error(), "p.toml:7:") {
		t.Errorf("got %v", err)
	}
}

func TestRefusalsNameTheAction(t *testing.T) {
	p := must(t, small)
	r := p.Profiles["tenant"].Decide("builder.prune", Object{}, "a")
	if want := (Ruling{Rule: "profile tenant: rule 1", Reason: "the policy leaves this to operators (builder.prune)"}); r != want {
		t.Errorf("got %+v, want %+v", r, want)
	}
}

func TestAllFaultsAreToldAtOnce(t *testing.T) {
	_, err := Parse("p.toml", []byte("version = 3\nmode = 'x'\n[[who]]\nname='x'\nprofile='y'\n"))
	if err == nil || strings.Count(err.Error(), "p.toml:") != 4 {
		t.Errorf("got %v", err)
	}
}

func TestFits(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"a", "a", true},
		{"a", "ab", false},
		{"*", "", true},
		{"a*", "a", true},
		{"a*c", "abc", true},
		{"a*c", "abcd", false},
		{"*b*", "abc", true},
		{"a*a", "a", false},
		{"/srv/*", "/srv/x/y", true},
		{"**", "x", true},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "acb", false},
	} {
		if got := Fits(c.pattern, c.s); got != c.want {
			t.Errorf("%s, %s: got %v", c.pattern, c.s, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(small)
	f.Add(profiles)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse("p", []byte(text))
		if (p == nil) == (err == nil) || err != nil && !errdefs.IsInvalidArgument(err) {
			t.Fatalf("got %v, %v", p, err)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	p, err := Parse("p", []byte(small))
	if err != nil {
		b.Fatal(err)
	}
	o := Object{Kind: "container", Name: "web", Owner: "a", Labels: map[string]string{"keep": ""}}
	web := p.Profiles["web"]
	b.ReportAllocs()
	for b.Loop() {
		if !web.Decide("container.exec", o, "a").Allow {
			b.Fatal("denied")
		}
	}
}
