package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
)

func (v volume) export() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "export [OPTIONS] VOLUME[@SNAPSHOT]",
		Short: "Write a volume or a snapshot as a stream, compressed and with checksums",
		Long: "Write a volume or a snapshot as a stream, compressed and with checksums.\n\nThe stream goes to standard output, or to a file, which appears when it is whole and not before; " +
			"a file of that name is replaced. docker mos volume import makes a volume of it, on any host. A volume in use is exported from a snapshot.",
		Example: "docker mos volume export -o data.mosvol data@monday\ndocker mos volume export data | ssh other docker mos volume import data",
		Args:    exactly("VOLUME[@SNAPSHOT]"), ValidArgsFunction: v.names(1, volumeNames, snapshotRefs),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Write to this file, not to standard output")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if output == "" && terminal(cmd.OutOrStdout()) {
			return hinted(usage("the stream is not for a terminal"), "give -o FILE, or a pipe such as "+cmd.CommandPath()+" "+args[0]+" | ssh HOST docker mos volume import")
		}
		p := newProgress(cmd)
		return v.long(cmd, func(ctx context.Context, c *lvm.Client) error {
			write := func(w io.Writer) error {
				_, err := c.Export(ctx, args[0], &counter{w: w, p: p, object: args[0]})
				return lost(err, volumesListed, snapshotsListed)
			}
			if output == "" {
				return write(cmd.OutOrStdout())
			}
			return replaceFile(output, write)
		})
	}
	return cmd
}

// load is the command import.
func (v volume) load() *cobra.Command {
	var input string
	cmd := &cobra.Command{
		Use:   "import [OPTIONS] [NAME]",
		Short: "Make a volume of a stream that export wrote",
		Long: "The stream comes from standard input or from a file. Name and options that are not given are those of the exported volume. " +
			"Nothing is left of a volume whose stream is cut off or damaged.",
		Example: "docker mos volume import -i data.mosvol\ndocker mos volume export data | ssh other docker mos volume import data",
		Args:    between(0, "[NAME]"), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVarP(&input, "input", "i", "", "Read this file, not standard input")
	given := v.optionFlag(cmd)
	ch := v.change(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r := lvm.CreateRequest{DryRun: ch.dry}
		if len(args) > 0 {
			r.Name = args[0]
		}
		var err error
		if r.Options, err = options(*given); err != nil {
			return err
		}
		from, done, err := source(cmd, input)
		if err != nil {
			return err
		}
		defer done()
		return ch.run(cmd, []string{r.Name}, func(ctx context.Context, c *lvm.Client, name string) (lvm.Plan, string, error) {
			p, err := c.Import(ctx, from, r, from.p.daemon)
			if unread, ok := errors.AsType[*fs.PathError](err); ok && unread.Op == "read" {
				err = unread // which is not the daemon's silence
			}
			return p, named(p, name), err
		})
	}
	return cmd
}

// source is the stream to import, and what closes it.
func source(cmd *cobra.Command, path string) (*counter, func(), error) {
	from := &counter{r: cmd.InOrStdin(), p: newProgress(cmd), object: "standard input"}
	if path == "" {
		if terminal(from.r) {
			return nil, nil, hinted(usage("the stream cannot come from a terminal"), "give -i FILE, or a pipe such as ssh HOST docker mos volume export VOLUME | "+cmd.CommandPath())
		}
		return from, func() {}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	from.r, from.object = f, path
	if fi, err := f.Stat(); err == nil && fi.Mode().IsRegular() {
		from.total = uint64(fi.Size())
	}
	return from, func() { _ = f.Close() }, nil
}
