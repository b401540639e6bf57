package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/fault"
)

func (m *mosd) join() *cobra.Command {
	var r api.ClusterJoin
	var file string
	cmd := &cobra.Command{
		Use: "join [OPTIONS] --token-file FILE ENDPOINT...", Short: "Make this host one of a cluster",
		Long: "ENDPOINT is https://HOST:PORT of a mos-scheduler; several may be given. mosd keeps them, and the\n" +
			"certificate that it gets, which it renews. The token is one of role host, as\n" +
			"mos-scheduler token create NAME -role host prints it.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fault.Invalid("name one ENDPOINT at least, such as https://HOST:PORT")
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if file == "" {
			return fault.Invalid("name the file of the token by --token-file, - for standard input")
		}
		in := cmd.InOrStdin()
		if file != "-" {
			f, err := os.Open(file)
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			in = f
		}
		const most = 4096
		data, err := io.ReadAll(io.LimitReader(in, most))
		if err != nil {
			return err
		}
		r.Token, r.Endpoints = strings.TrimSpace(string(data)), args
		st, err := api.New(m.socket).ClusterJoin(cmd.Context(), r)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s has joined; docker mos host cluster shows how it does\n", st.Host)
		return err
	}
	cmd.Flags().StringVar(&file, "token-file", "", "File of the token, - for standard input")
	cmd.Flags().StringVar(&r.Name, "name", "", "Name of the host in the cluster (default that of mosd's configuration)")
	return cmd
}

func (m *mosd) leave() *cobra.Command {
	var r api.ClusterLeave
	cmd := &cobra.Command{
		Use: "leave [OPTIONS]", Short: "Take this host from its cluster",
		Long: "Sets that the cluster has here keep it from that: drain the host first. With --force they stay,\nas sets of this host alone.",
		Args: exactly(), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		_, err := api.New(m.socket).ClusterLeave(cmd.Context(), r)
		return err
	}
	cmd.Flags().BoolVarP(&r.Force, "force", "f", false, "Leave with sets, which stay")
	return cmd
}

func (m *mosd) cluster() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cluster", Short: "Show how this host does in its cluster",
		Long: "The exit code is 1 while the host is not linked to a controller that leads.",
		Args: exactly(), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		st, err := api.New(m.socket).Cluster(cmd.Context())
		if err != nil {
			return err
		}
		var b strings.Builder
		line := func(key, value string) { fmt.Fprintf(&b, "%-11s %s\n", key+":", dash(value)) }
		line("Host", st.Host)
		line("Cluster", st.Cluster)
		line("Endpoints", strings.Join(st.Endpoints, " "))
		line("Linked", st.Linked)
		line("Since", ago(st.Since))
		line("Assignment", fmt.Sprintf("%d sets, epoch %d, revision %d", st.Sets, st.Epoch, st.Revision))
		if !st.Expires.IsZero() {
			line("Certificate", "until "+st.Expires.Local().Format("2006-01-02 15:04:05"))
		}
		if st.Error != "" {
			line("Error", st.Error)
		}
		if _, err := io.WriteString(cmd.OutOrStdout(), b.String()); err != nil {
			return err
		}
		if st.Linked == "" {
			return errBadNews
		}
		return nil
	}
	return cmd
}
