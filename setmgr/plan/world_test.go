package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/setmgr/label"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// world is an Engine in a few lines, for plans to be tried on.
type world struct {
	o    Observed
	made map[int]string // containers by the step of this run
	next int
	sick map[string]bool // images that never get ready
}

func newWorld() *world {
	return &world{o: Observed{
		Facts: render.Facts{API: "1.41", CgroupDriver: "cgroupfs", CgroupVersion: 1},
		Taken: map[string]string{}, Networks: map[string]bool{"prod": true}, Volumes: map[string]bool{}, Images: map[string]string{},
	}, sick: map[string]bool{}}
}

func (w *world) seen() Observed {
	o := w.o
	o.Members = slices.Clone(o.Members)
	if o.Infra != nil {
		c := *o.Infra
		o.Infra = &c
	}
	o.Images = maps.Clone(o.Images)
	return o
}

// run takes the steps until the n-th, which fails; 0 is none.
func (w *world) run(p Plan, n int) error {
	w.made = map[int]string{}
	for i, s := range p.Steps {
		for _, need := range s.Needs {
			if need >= s.ID {
				return fmt.Errorf("step %d needs %d, which comes later", s.ID, need)
			}
		}
		if i+1 == n {
			return fmt.Errorf("step %d failed", n)
		}
		if err := w.step(s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

func (w *world) find(s Step) *Container {
	id := s.Target
	if id == "" {
		id = w.made[s.Made]
	}
	if w.o.Infra != nil && w.o.Infra.ID == id {
		return w.o.Infra
	}
	for i := range w.o.Members {
		if w.o.Members[i].ID == id {
			return &w.o.Members[i]
		}
	}
	return nil
}

func (w *world) step(s Step) error {
	switch s.Op {
	case LoadInfra, Pull:
		w.o.Images[s.Name] = "sha256:" + s.Name
		return nil
	case MakeVolume:
		w.o.Volumes[s.Name] = true
		w.o.Left = append(slices.Clone(w.o.Left), s.Name)
		return nil
	case SetCap:
		w.o.Cap, w.o.HasCap = s.Limits, true
		return nil
	case DropCap:
		w.o.Cap, w.o.HasCap = Limits{}, false
		return nil
	case Create:
		return w.create(s)
	case DropVolume:
		delete(w.o.Volumes, s.Name)
		w.o.Left = slices.DeleteFunc(slices.Clone(w.o.Left), func(v string) bool { return v == s.Name })
		return nil
	case Start, Wait, Hook, Put, Limit, Policy, Settle, StopOne, Kill, Rename, RemoveOne, Connect, Disconnect, Grow:
	}
	c := w.find(s)
	if c == nil {
		return fmt.Errorf("there is no container for it")
	}
	return w.change(c, s)
}

func (w *world) change(c *Container, s Step) error {
	switch s.Op {
	case Start:
		if c.Member != "" && (w.o.Infra == nil || w.o.Infra.State != Running || w.o.Infra.ID != c.NetOf) {
			return fmt.Errorf("cannot join network of a non running container")
		}
		c.State, c.Stranded = Running, false
	case Wait:
		if c.State != Running || w.sick[c.Image] {
			return fmt.Errorf("it does not get ready")
		}
	case Limit:
		c.Limits = s.Limits
	case Policy:
		c.Restart = s.Policy
	case StopOne, Kill:
		c.State = Exited
		if c == w.o.Infra {
			for i := range w.o.Members {
				w.o.Members[i].Stranded = w.o.Members[i].State == Running
			}
		}
	case Rename:
		for _, other := range w.o.Members {
			if other.Name == s.NewName {
				return fmt.Errorf("name %s is taken", s.NewName)
			}
		}
		c.Name = s.NewName
	case RemoveOne:
		w.remove(c)
	case Connect:
		c.Nets[s.Name] = Net{}
	case Disconnect:
		delete(c.Nets, s.Name)
	case Hook, Put, Settle, Grow, LoadInfra, Pull, MakeVolume, SetCap, DropCap, Create, DropVolume:
	}
	return nil
}

func (w *world) remove(c *Container) {
	if c == w.o.Infra {
		w.o.Infra = nil
		return
	}
	w.o.Members = slices.DeleteFunc(w.o.Members, func(m Container) bool { return m.ID == c.ID })
}

func (w *world) create(s Step) error {
	for _, other := range append(w.o.Members, infraOf(w.o)...) {
		if other.Name == s.Create.Name {
			return fmt.Errorf("name %s is taken", s.Create.Name)
		}
	}
	w.next++
	l, h := s.Create.Config.Labels, s.Create.Host
	c := Container{
		ID: fmt.Sprintf("%012d", w.next), Name: s.Create.Name, Member: l[label.Member], Hash: l[label.Hash], Spec: l[label.Spec], History: l[label.History],
		Image: s.Create.Config.Image, ImageID: w.o.Images[s.Create.Config.Image], State: Created, Restart: string(h.RestartPolicy.Name),
		Limits: Limits{CPU: spec.Cores(float64(max(0, h.CPUQuota)) / Period), MEM: spec.Bytes(h.Memory)}, Nets: map[string]Net{},
	}
	if h.RestartPolicy.MaximumRetryCount > 0 {
		c.Restart += ":" + strconv.Itoa(h.RestartPolicy.MaximumRetryCount)
	}
	c.Index, _ = strconv.Atoi(l[label.Index]) // of a member
	c.Rev, _ = strconv.Atoi(l[label.Rev])
	w.made[s.ID] = c.ID
	if l[label.Role] == label.RoleInfra {
		c.Nets[string(h.NetworkMode)] = Net{}
		w.o.Infra = &c
		return nil
	}
	if w.o.Infra == nil || "container:"+w.o.Infra.Name != string(h.NetworkMode) {
		return fmt.Errorf("no container %s to share the network of", h.NetworkMode)
	}
	c.NetOf = w.o.Infra.ID
	w.o.Members = append(w.o.Members, c)
	return nil
}

// String is the world as text.
func (w *world) String() string {
	var b strings.Builder
	for _, c := range append(infraOf(w.o), w.o.Members...) {
		fmt.Fprintf(&b, "%s %s %s rev %d %s", c.Name, c.Image, c.State, c.Rev, c.Limits)
		if c.Stranded {
			b.WriteString(" stranded")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// web is the set of most tests.
func web(t *testing.T) spec.Set {
	t.Helper()
	s, err := spec.Decode("web.json", []byte(`{"Name": "web", "CPU": 4, "MEM": "8g",
		"Network": {"Name": "prod", "IP": "10.9.0.21"}, "Volume": {"Size": "20g", "Path": "/data"},
		"Containers": [
			{"Index": 0, "Name": "app", "Image": "shop/app:41", "Options": {"CPU": 60, "MEM": 60, "Health": {"Cmd": ["CMD", "/ok"]}}},
			{"Index": 0, "Name": "cache", "Image": "redis:8", "Options": {"CPU": 30, "MEM": 20}},
			{"Index": 1, "Name": "log", "Image": "shop/log:7", "Options": {"CPU": 10, "MEM": 10, "DependsOn": [{"Container": "app", "Condition": "healthy"}]}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return *s
}

var opt = Options{InfraImage: "mos-infra:1"}

// up brings a set up in the world, which must be well, and gives the plan.
func (w *world) up(t *testing.T, s spec.Set) Plan {
	t.Helper()
	p, err := Up(s, w.seen(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.run(p, 0); err != nil {
		t.Fatalf("%v in\n%s", err, p)
	}
	return p
}
