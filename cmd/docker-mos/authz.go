package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/authz"
	"github.com/mosdocker/mosdocker/authz/api"
	"github.com/mosdocker/mosdocker/authz/judge"
	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/internal/fault"
)

// guard has the commands of mos-authz.
type guard struct{ address }

func newAuthz() *cobra.Command {
	g := &guard{address{name: "mos-authz", env: "MOS_AUTHZ_ADMIN", flag: "socket", usual: api.DefaultSocket}}
	cmd := group("authz", "Policies of mos-authz")
	g.socketFlag(cmd.PersistentFlags(), g.flag)
	cmd.AddCommand(g.check(), g.test(), g.explain(), g.reload(), g.status())
	return cmd
}

// ask runs f against the daemon with a limit of time.
func (g *guard) ask(cmd *cobra.Command, f func(context.Context, *api.Client) error) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), callLimit)
	defer cancel()
	return g.address.explain(cmd, f(ctx, api.New(g.at())))
}

func readPolicy(path string) (*policy.Policy, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return policy.Parse(path, text)
}

func (g *guard) check() *cobra.Command {
	return &cobra.Command{
		Use: "check FILE...", Short: "Look for faults in policy files, without mos-authz", Args: exactly("FILE..."), Example: "docker mos authz check /etc/mos/policy.toml",
		RunE: func(cmd *cobra.Command, args []string) error {
			return each(args, func(path string) error {
				p, err := readPolicy(path)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: well, %d subjects, mode %s\n", path, len(p.Who), p.Mode)
				return err
			})
		},
		ValidArgsFunction: files,
	}
}

func files(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

func (g *guard) test() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "test [OPTIONS] TESTS...", Short: "Run tests of a policy, without mos-authz", Args: exactly("TESTS..."), Example: "docker mos authz test --policy policy.toml tenant.authz",
		Long: "Run tests of a policy, without mos-authz: requests of users, objects that are there, and what shall become of them. docs/authz.md has the format.",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := readPolicy(path)
			if err != nil {
				return err
			}
			passed, failed := 0, 0
			err = each(args, func(name string) error {
				text, err := os.ReadFile(name)
				if err != nil {
					return err
				}
				s, err := judge.ParseSuite(name, string(text))
				if err != nil {
					return err
				}
				results := s.Run(p)
				if len(results) == 0 {
					return fault.Invalid("%s has no call with a want: docs/authz.md has the format", name)
				}
				for _, r := range results {
					if r.OK {
						passed++
						continue
					}
					failed++
					if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s:%d: %s %s: want %s, got %s\n", name, r.Line, r.Raw.Method, r.Raw.URI, wanted(r.Case), told(r.Verdict)); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%d passed, %d failed\n", passed, failed); err != nil {
				return err
			}
			if failed > 0 {
				return errBadNews
			}
			return nil
		},
		ValidArgsFunction: files,
	}
	cmd.Flags().StringVar(&path, "policy", "/etc/mos/policy.toml", "Policy file")
	return cmd
}

func wanted(c judge.Case) string {
	word := "allow"
	if c.Deny {
		word = "deny"
	}
	return strings.TrimSpace(word + " " + c.Part)
}

func told(v judge.Verdict) string {
	if v.Denied {
		return "deny by " + v.Rule + ": " + v.Reason
	}
	return "allow by " + v.Rule
}

func (g *guard) explain() *cobra.Command {
	var r api.ExplainRequest
	var path string
	cmd := &cobra.Command{
		Use: "explain [OPTIONS] METHOD URI [BODY]", Short: "Tell what would become of a request, which rule says so and why", Args: between(2, "METHOD", "URI", "[BODY]"),
		Long: "Tell what would become of a request, which rule says so and why. The request is not sent. mos-authz is asked, which knows the Engine's objects and its policy in force; " +
			"with --policy a file is, and no object is there. A BODY of - is read from standard input. The exit code is 1 for a request that would be denied.",
		Example: "docker mos authz explain --who 'uid=1000 gid=2000' POST /v1.45/containers/create '{\"Image\": \"busybox\", \"HostConfig\": {\"Privileged\": true}}'",
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Method, r.URI = args[0], args[1]
			if len(args) > 2 {
				r.Body = args[2]
			}
			if r.Body == "-" {
				text, err := io.ReadAll(cmd.InOrStdin())
				if err != nil {
					return err
				}
				r.Body = string(text)
			}
			e, err := g.explained(cmd, path, r)
			if err != nil {
				return err
			}
			if err := printExplanation(cmd.OutOrStdout(), e); err != nil {
				return err
			}
			if e.Denied {
				return errBadNews
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&r.Who, "who", "local", `Client: "uid=N gid=N", "cn=NAME san=NAME", or "local" for who reaches the Engine's own socket`)
	cmd.Flags().StringVar(&r.Front, "front", "proxy", "proxy for the guarded socket, or plugin")
	cmd.Flags().StringVar(&path, "policy", "", "Policy file to judge by, in place of the one in force")
	return cmd
}

func (g *guard) explained(cmd *cobra.Command, path string, r api.ExplainRequest) (e api.Explanation, err error) {
	if path == "" {
		err = g.ask(cmd, func(ctx context.Context, c *api.Client) error {
			e, err = c.Explain(ctx, r)
			return err
		})
		return e, err
	}
	p, err := readPolicy(path)
	if err != nil {
		return e, err
	}
	front, who, raw, err := authz.Asked(r)
	if err != nil {
		return e, usage("%s", err)
	}
	share, _, _ := p.Share(who)
	return authz.Explain(front, judge.Judge(p, front, who, raw, judge.Things{}), share), nil
}

func printExplanation(w io.Writer, e api.Explanation) error {
	answer := "allowed"
	switch {
	case e.Denied && e.Allow:
		answer = "let through, since the mode is " + e.Mode + "; denied else"
	case e.Denied:
		answer = "denied"
	}
	rows := [][2]string{{"answer", answer}, {"subject", dash(e.Subject)}, {"profile", dash(e.Profile)}, {"action", dash(e.Action)}, {"object", dash(e.Object)}, {"rule", dash(e.Rule)}}
	if e.Reason != "" {
		rows = append(rows, [2]string{"reason", e.Reason})
	}
	if e.Change != "" {
		rows = append(rows, [2]string{"change", e.Change})
	}
	if e.Share != "" {
		rows = append(rows, [2]string{"share", e.Share})
	}
	return printLines(w, rows)
}

func (g *guard) reload() *cobra.Command {
	return &cobra.Command{
		Use: "reload", Short: "Read the policy file at once; a wrong one changes nothing", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.ask(cmd, func(ctx context.Context, c *api.Client) error {
				s, err := c.Reload(ctx)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), s.Hash)
				return err
			})
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
}

func (g *guard) status() *cobra.Command {
	cmd := &cobra.Command{Use: "status [OPTIONS]", Short: "Show how mos-authz is and which policy is in force", Args: exactly(), ValidArgsFunction: cobra.NoFileCompletions}
	format := textFormat(cmd, func(w io.Writer, s api.Status) error {
		rows := [][2]string{
			{"version", s.Version},
			{"policy", s.Policy},
			{"in force", "nothing: all is denied"},
			{"guarded socket", dash(s.Listen)},
			{"audit log", dash(s.Audit)},
			{"engine", dash(s.Engine)},
		}
		if s.Hash != "" {
			rows[2][1] = s.Hash + " since " + s.Since.Local().Format(time.DateTime)
		}
		if s.Error != "" {
			rows = append(rows, [2]string{"not in force", s.Error})
		}
		if s.Shut != "" {
			rows = append(rows, [2]string{"group kept out", s.Shut})
		}
		if s.Warning != "" {
			rows = append(rows, [2]string{"warning", s.Warning})
		}
		return printLines(w, rows)
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		write, err := format()
		if err != nil {
			return err
		}
		return g.ask(cmd, func(ctx context.Context, c *api.Client) error {
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), s)
		})
	}
	return cmd
}
