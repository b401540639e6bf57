package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/cgroup"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// setChange is a command that changes a set, with its plan first.
type setChange struct {
	s     *sets
	dry   bool
	form  string
	quiet bool
	heal  bool // how many restarts it took is said
}

func (s *sets) change(cmd *cobra.Command) *setChange {
	ch := &setChange{s: s}
	cmd.Flags().BoolVar(&ch.dry, "dry-run", false, "Print the plan as lines of docker, and do nothing")
	cmd.Flags().BoolVarP(&ch.quiet, "quiet", "q", false, "Do not say how it goes")
	cmd.Flags().StringVar(&ch.form, "progress", "auto", `How to say how it goes: "auto", "tty", "plain" or "json"`)
	complete(cmd, "progress", "auto", "tty", "plain", "json")
	return ch
}

// run plans, prints or runs, and says how it went.
func (ch *setChange) run(cmd *cobra.Command, set string, want *spec.Set, change func(*setmgr.Manager) setmgr.Change) error {
	show, err := newSetProgress(cmd, ch.form, ch.quiet)
	if err != nil {
		return err
	}
	show.heal = ch.heal
	ctx, stop := ch.s.signals.interruptible(cmd.Context())
	defer stop()
	m, err := ch.s.manager(ctx, show.event)
	if err != nil {
		return err
	}
	if !ch.dry {
		unlock, err := ch.lock(ctx, cmd, m, set)
		if err != nil {
			return err
		}
		defer unlock()
	}
	c := change(m)
	if want == nil {
		c = explained(set, c)
	}
	p, err := m.Plan(ctx, set, want, c)
	if err != nil {
		return err
	}
	for _, w := range p.Warnings {
		hint(cmd.ErrOrStderr(), w)
	}
	if ch.dry {
		return printPlan(cmd, p)
	}
	show.begin(p)
	err = m.Run(ctx, p)
	show.end(err)
	if err == nil {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), set)
	}
	return err
}

// patience is how long it waits for another without a word.
const patience = time.Second

// lock keeps others away from a set, and says so when it has to wait for that.
func (ch *setChange) lock(ctx context.Context, cmd *cobra.Command, m *setmgr.Manager, set string) (unlock func(), err error) {
	said := time.AfterFunc(patience, func() {
		remarkBy(cmd.ErrOrStderr(), "set", "waiting for another docker set, or mosd, that is changing set %s on this host", set)
	})
	defer said.Stop()
	return m.Lock(ctx, set)
}

// explained is a change whose error says what there is of a set without an infra
// container.
func explained(set string, change setmgr.Change) setmgr.Change {
	return func(ctx context.Context, o plan.Observed) (plan.Plan, error) {
		p, err := change(ctx, o)
		if err != nil && o.Infra == nil && len(o.Members) > 0 {
			err = noInfra(set, o)
		}
		return p, err
	}
}

// noInfra is the error for a set of which only members are there.
func noInfra(set string, o plan.Observed) error {
	var left []string
	for _, c := range o.Members {
		left = append(left, c.Name)
	}
	slices.Sort(left)
	return hinted(failure(errdefs.ErrNotFound, "the infra container %s is gone; left of set %s are %s, in a network that nobody reaches", render.InfraName(set), set, strings.Join(left, ", ")),
		"docker set up FILE, with the set's file, makes it whole again", "docker set rm --force "+set+" removes what is left")
}

// printPlan prints a plan as lines of docker, with causes as comments.
func printPlan(cmd *cobra.Command, p plan.Plan) error {
	out := cmd.OutOrStdout()
	if len(p.Steps) == 0 {
		if len(p.Warnings) > 0 {
			return nil // these say how it is
		}
		_, err := fmt.Fprintf(cmd.ErrOrStderr(), "set %s is as it should be\n", p.Set)
		return err
	}
	lines := p.Lines()
	for i, s := range p.Steps {
		why := s.Cause
		if s.Outage != "" {
			why += "; outage of " + s.Member + " " + s.Outage
		}
		if _, err := fmt.Fprintf(out, "# %d: %s\n%s\n", s.ID, why, lines[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *sets) up() *cobra.Command {
	var opt plan.Options
	cmd := &cobra.Command{
		Use:     "up [OPTIONS] FILE",
		Short:   "Make a set as its file says, or change it to that",
		Long:    "What is missing is made, what differs is changed in place, what is right is left alone. FILE is JSON or YAML; - is standard input. docker set schema prints what may stand in it.",
		Example: "docker set up web.json\ndocker set up --dry-run web.json",
		Args:    exactly("FILE"), ValidArgsFunction: setFiles(1),
	}
	upFlags(cmd, &opt)
	ch := s.change(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		want, files, err := readSpec(cmd, args[0])
		if err != nil {
			return err
		}
		opt.Files = files
		up := func() error {
			return ch.run(cmd, want.Name, want, func(m *setmgr.Manager) setmgr.Change { return m.Up(*want, opt) })
		}
		err = up()
		var must *plan.RecreateError
		if !errors.As(err, &must) || ch.dry || !terminal(cmd.InOrStdin()) {
			return err
		}
		if err := confirm(cmd, err.Error(), "nothing was changed"); err != nil {
			return err
		}
		opt.Recreate = true
		return up()
	}
	return cmd
}

func upFlags(cmd *cobra.Command, opt *plan.Options) {
	cmd.Flags().BoolVar(&opt.Recreate, "recreate", false, "Recreate the whole set where its infra container must change")
	cmd.Flags().BoolVarP(&opt.Renew, "renew-anon-volumes", "V", false, "Let containers that are replaced lose their unnamed volumes")
}

func (s *sets) plan() *cobra.Command {
	var opt plan.Options
	cmd := &cobra.Command{
		Use:   "plan [OPTIONS] FILE",
		Short: "Print what docker set up would do, as lines of docker",
		Args:  exactly("FILE"), ValidArgsFunction: setFiles(1),
	}
	upFlags(cmd, &opt)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, _, err := s.planUp(cmd, args[0], opt)
		if err != nil {
			return err
		}
		return printPlan(cmd, p)
	}
	return cmd
}

// planUp is what docker set up would do, and why.
func (s *sets) planUp(cmd *cobra.Command, file string, opt plan.Options) (p plan.Plan, diff []plan.Difference, err error) {
	want, files, err := readSpec(cmd, file)
	if err != nil {
		return p, nil, err
	}
	opt.Files = files
	m, err := s.manager(cmd.Context(), nil)
	if err != nil {
		return p, nil, err
	}
	up := m.Up(*want, opt)
	p, err = m.Plan(cmd.Context(), want.Name, want, func(ctx context.Context, o plan.Observed) (plan.Plan, error) {
		p, err := up(ctx, o)
		diff = plan.Diff(*want, o, p)
		return p, err
	})
	for _, w := range p.Warnings {
		hint(cmd.ErrOrStderr(), w)
	}
	return p, diff, err
}

func (s *sets) diff() *cobra.Command {
	return &cobra.Command{
		Use:   "diff FILE",
		Short: "Print how a set differs from its file; the exit code is 1 when it does, 2 after an error",
		Args:  exactly("FILE"), ValidArgsFunction: setFiles(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, diff, err := s.planUp(cmd, args[0], plan.Options{Recreate: true, Renew: true})
			if err != nil {
				return &unansweredError{err}
			}
			if len(p.Steps) == 0 {
				return nil
			}
			for _, d := range diff {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), d); err != nil {
					return err
				}
			}
			if len(diff) == 0 { // what an earlier call left half done
				if err := printPlan(cmd, p); err != nil {
					return err
				}
			}
			return errBadNews
		},
	}
}

func (s *sets) validate() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check files of sets, without an Engine",
		Args:  between(1, "FILE..."), ValidArgsFunction: setFiles(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			var errs []error
			for _, file := range args {
				set, _, err := readSpec(cmd, file)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), set.Name); err != nil {
					return err
				}
			}
			return errors.Join(errs...)
		},
	}
}

func (s *sets) schema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of a set's file",
		Args:  exactly(), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(spec.Schema())
			return err
		},
	}
}

// changeOf is what a command does with a set, by its arguments.
type changeOf func(args []string) (func(*setmgr.Manager) setmgr.Change, error)

// always is a changeOf whose arguments are always well.
func always(f func(m *setmgr.Manager, args []string) setmgr.Change) changeOf {
	return func(args []string) (func(*setmgr.Manager) setmgr.Change, error) {
		return func(m *setmgr.Manager) setmgr.Change { return f(m, args) }, nil
	}
}

// onSet is a command that changes one set by its name.
func (s *sets) onSet(use, short string, args cobra.PositionalArgs, change changeOf) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: args, ValidArgsFunction: s.oneSet}
	ch := s.change(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := change(args)
		if err != nil {
			return err
		}
		return ch.run(cmd, args[0], nil, c)
	}
	return cmd
}

// onSets is a command that changes sets by their names, one after the other.
func (s *sets) onSets(verb, short string, change func(m *setmgr.Manager, set string) setmgr.Change) *cobra.Command {
	cmd := &cobra.Command{Use: verb + " [OPTIONS] SET...", Short: short, Args: between(1, "SET..."), ValidArgsFunction: s.someSets}
	ch := s.change(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return ch.each(cmd, args, change)
	}
	return cmd
}

// each is run for several sets: one that fails keeps none from the others, but for a
// signal.
func (ch *setChange) each(cmd *cobra.Command, names []string, change func(m *setmgr.Manager, set string) setmgr.Change) error {
	var errs []error
	for _, set := range names {
		err := ch.run(cmd, set, nil, func(m *setmgr.Manager) setmgr.Change { return change(m, set) })
		errs = append(errs, err)
		if _, ended := errors.AsType[*signalError](err); ended {
			break
		}
	}
	return once(errs)
}

func (s *sets) stop() *cobra.Command {
	return s.onSets("stop", "Stop sets, which then stay stopped", func(m *setmgr.Manager, set string) setmgr.Change { return m.Stop(set) })
}

func (s *sets) start() *cobra.Command {
	return s.onSets("start", "Start sets that were stopped", func(m *setmgr.Manager, set string) setmgr.Change {
		return m.Again(set, plan.Options{})
	})
}

func (s *sets) restart() *cobra.Command {
	cmd := s.onSet("restart [OPTIONS] SET [CONTAINER...]", "Restart the containers of a set, or some; its network stays", between(1, "SET", "CONTAINER..."), always(func(m *setmgr.Manager, a []string) setmgr.Change {
		return m.Restart(a[0], a[1:]...)
	}))
	cmd.ValidArgsFunction = s.setThenMembers
	return cmd
}

func (s *sets) heal() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:               "heal [OPTIONS] [SET...]",
		Short:             "Repair sets whose infra or containers died, with the least restarts",
		Args:              between(0, "SET..."),
		ValidArgsFunction: s.someSets,
	}
	cmd.Flags().BoolVar(&all, "all", false, "All sets of the Engine")
	cmd.Long = "Members that are in a dead network, or down, are started, in the order of their Index; what runs well goes on. It says which it started."
	ch := s.change(cmd)
	ch.heal = true
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if all == (len(args) > 0) {
			return usage("%s takes either names of sets or --all", cmd.CommandPath())
		}
		if all {
			m, err := s.manager(cmd.Context(), nil)
			if err != nil {
				return err
			}
			if args, err = m.Engine.Sets(cmd.Context()); err != nil {
				return err
			}
		}
		return ch.each(cmd, args, func(m *setmgr.Manager, set string) setmgr.Change { return m.Again(set, plan.Options{Heal: true}) })
	}
	return cmd
}

func (s *sets) rm() *cobra.Command {
	var force, volume bool
	cmd := s.onSets("rm", "Remove sets; their volumes stay", func(m *setmgr.Manager, set string) setmgr.Change {
		return m.Remove(set, force, volume)
	})
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Also those that run")
	cmd.Flags().BoolVarP(&volume, "volumes", "v", false, "Remove the volumes that were made for them as well")
	return cmd
}

func (s *sets) update() *cobra.Command {
	var renew bool
	cmd := s.onSet("update [OPTIONS] SET CONTAINER=IMAGE...", "Replace containers of a set by ones of other images, in place", between(2, "SET", "CONTAINER=IMAGE..."), func(a []string) (func(*setmgr.Manager) setmgr.Change, error) {
		images := map[string]string{}
		for _, arg := range a[1:] {
			name, image, ok := strings.Cut(arg, "=")
			if !ok || name == "" || image == "" {
				return nil, usage("%q is not of the form CONTAINER=IMAGE", arg)
			}
			if images[name] != "" {
				return nil, usage("container %s is given twice: %s and %s", name, images[name], image)
			}
			images[name] = image
		}
		return func(m *setmgr.Manager) setmgr.Change { return m.Update(a[0], images, renew) }, nil
	})
	cmd.Long = "The image is there and the new container made before the old one is touched. The old one is kept until the new one is ready, and comes back by itself if that does not get ready. How each is replaced its Update.Strategy says."
	cmd.Example = "docker set update web app=shop/app:42"
	cmd.ValidArgsFunction = s.setThenImages
	cmd.Flags().BoolVarP(&renew, "renew-anon-volumes", "V", false, "Let containers that are replaced lose their unnamed volumes")
	return cmd
}

func (s *sets) resize() *cobra.Command {
	var cpus, memory, volume string
	cmd := s.onSet("resize [OPTIONS] SET [CONTAINER]", "Change what a set or one of its containers may use, while it runs", between(1, "SET", "CONTAINER"), func(a []string) (func(*setmgr.Manager) setmgr.Change, error) {
		cpu, err := amountOf("cpus", cpus)
		if err != nil {
			return nil, err
		}
		mem, err := amountOf("memory", memory)
		if err != nil {
			return nil, err
		}
		size, err := amountOf("volume", volume)
		switch {
		case err != nil:
			return nil, err
		case cpu == (amount{}) && mem == (amount{}) && size == (amount{}):
			return nil, usage("nothing to change: give --cpus, --memory or --volume")
		case len(a) == 2 && size != (amount{}):
			return nil, usage("the volume is that of the set: docker set resize --volume %s %s", volume, a[0])
		case len(a) == 2:
			share := setmgr.Share{CPU: cpu.percent, MEM: mem.percent, Cores: spec.Cores(cpu.absolute), Memory: spec.Bytes(mem.absolute)}
			return func(m *setmgr.Manager) setmgr.Change { return m.Reshare(a[0], map[string]setmgr.Share{a[1]: share}) }, nil
		case cpu.percent+mem.percent+size.percent > 0:
			return nil, usage("a percentage is of the set, and needs a CONTAINER: docker set resize %s CONTAINER", a[0])
		}
		to := plan.Limits{CPU: spec.Cores(cpu.absolute), MEM: spec.Bytes(mem.absolute)}
		return func(m *setmgr.Manager) setmgr.Change { return m.Resize(a[0], to, spec.Bytes(size.absolute)) }, nil
	})
	cmd.Long = "Containers that have percents of the set get them of its new total. No container is restarted. With a CONTAINER its own part changes, an amount or a percentage of the set; a container whose file gives it amounts keeps amounts."
	cmd.Example = "docker set resize --cpus 6 --memory 12g --volume 40g web\ndocker set resize --cpus 60% --memory 512m web app"
	cmd.ValidArgsFunction = s.setThenMemberOnly
	cmd.Flags().StringVar(&cpus, "cpus", "", "Cores of the set as a whole, or of the CONTAINER")
	cmd.Flags().StringVarP(&memory, "memory", "m", "", "Memory of the set as a whole, or of the CONTAINER")
	cmd.Flags().StringVar(&volume, "volume", "", "Size of the set's volume, which can only grow")
	cmd.Flags().BoolVar(&s.later, "at-next-mount", false, "Grow a file system that cannot grow while mounted when the set is started the next time")
	return cmd
}

// amount is a number, or a part of something.
type amount struct{ absolute, percent float64 }

// amountOf reads the value of a flag: a number of cores, a size, or a percentage.
func amountOf(flag, text string) (a amount, err error) {
	if text == "" {
		return a, nil
	}
	number, part := strings.CutSuffix(text, "%")
	switch {
	case part:
		a.percent, err = strconv.ParseFloat(number, 64)
	case flag == "cpus":
		a.absolute, err = strconv.ParseFloat(text, 64)
	default:
		var n int64
		n, err = units.RAMInBytes(text)
		a.absolute = float64(n)
	}
	if n := a.absolute + a.percent; err != nil || !(n > 0) || math.IsInf(n, 0) {
		return a, usage("--%s %s is no amount", flag, text)
	}
	return a, nil
}

// caps makes the caps of sets again that the cgroup file system lost when the host
// started: for a unit that runs before the Engine, which cannot be asked then.
func (s *sets) caps() *cobra.Command {
	return &cobra.Command{
		Use:   "caps",
		Short: "Cap all sets of this host again, after its start", Hidden: true, Args: exactly(), ValidArgsFunction: cobra.NoFileCompletions,
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE:              func(cmd *cobra.Command, _ []string) error { return cgroup.Apply(cmd.Context()) },
	}
}
