package docker

import (
	"bytes"
	"context"
	"io"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// mostOutput is how much of a command's output is kept.
const mostOutput = 64 << 10

// Exec runs a command in a container, and gives its exit code and what it wrote. When ctx
// ends so does the command, where its processes are seen from here.
func (e *Engine) Exec(ctx context.Context, id string, cmd []string) (code int, output string, err error) {
	made, err := e.c.ExecCreate(ctx, id, client.ExecCreateOptions{Cmd: cmd, AttachStdout: true, AttachStderr: true})
	if says(err, "is not running", "is paused", "is restarting") {
		return 0, "", fault.Conflict("%s: docker logs says why", said(err))
	}
	if err != nil {
		return 0, "", e.told(ctx, err)
	}
	at, err := e.c.ExecAttach(ctx, made.ID, client.ExecAttachOptions{})
	if err != nil {
		return 0, "", e.told(ctx, err)
	}
	stop := context.AfterFunc(ctx, at.Close) // a command that hangs
	defer stop()
	defer at.Close()
	var out bytes.Buffer
	_, err = stdcopy.StdCopy(&capped{&out}, &capped{&out}, at.Reader)
	if ctx.Err() != nil {
		e.endExec(ctx, made.ID)
		return 0, out.String(), context.Cause(ctx)
	}
	if err != nil {
		return 0, out.String(), err
	}
	in, err := e.c.ExecInspect(ctx, made.ID, client.ExecInspectOptions{})
	return in.ExitCode, out.String(), e.told(ctx, err)
}

// capped keeps the beginning.
type capped struct{ b *bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	if room := mostOutput - c.b.Len(); room > 0 {
		c.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// Tail is the last lines that a container wrote.
func (e *Engine) Tail(ctx context.Context, id string) (string, error) {
	in, tty, err := e.Logs(ctx, id, LogOptions{Tail: "5"})
	if err != nil {
		return "", err
	}
	defer func() { _ = in.Close() }()
	var out bytes.Buffer
	if tty {
		_, err = io.Copy(&capped{&out}, in)
	} else {
		_, err = stdcopy.StdCopy(&capped{&out}, &capped{&out}, in)
	}
	text := out.String()
	return text[max(0, len(text)-1000):], err
}

// LogOptions are those of docker logs.
type LogOptions struct {
	Follow, Timestamps bool
	Tail, Since, Until string
}

// Logs is what a container wrote; with tty both streams are one and plain, else
// they are as package stdcopy reads them.
func (e *Engine) Logs(ctx context.Context, id string, o LogOptions) (out io.ReadCloser, tty bool, err error) {
	in, err := e.c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return nil, false, e.told(ctx, err)
	}
	out, err = e.c.ContainerLogs(ctx, id, client.ContainerLogsOptions{
		ShowStdout: true, ShowStderr: true, Follow: o.Follow, Timestamps: o.Timestamps, Tail: o.Tail, Since: o.Since, Until: o.Until,
	})
	return out, in.Container.Config.Tty, e.told(ctx, err)
}
