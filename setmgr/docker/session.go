package docker

import (
	"context"
	"io"

	"github.com/moby/moby/client"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// ExecOptions are those of docker exec.
type ExecOptions struct {
	Command, Env  []string
	User, Dir     string
	TTY, Stdin    bool
	Rows, Columns uint16 // of the terminal, with TTY
}

// Execution is a command that runs in a container for somebody who is there.
type Execution struct {
	// Out is what it writes: with TTY one plain stream, else as package stdcopy reads them.
	Out io.Reader

	e  *Engine
	id string
	at client.HijackedResponse
}

// Execute begins a command. The caller closes it.
func (e *Engine) Execute(ctx context.Context, id string, o ExecOptions) (*Execution, error) {
	create := client.ExecCreateOptions{
		Cmd: o.Command, Env: o.Env, User: o.User, WorkingDir: o.Dir, TTY: o.TTY,
		AttachStdin: o.Stdin, AttachStdout: true, AttachStderr: true,
	}
	attach := client.ExecAttachOptions{TTY: o.TTY}
	if o.TTY && o.Rows > 0 && o.Columns > 0 {
		create.ConsoleSize = client.ConsoleSize{Height: uint(o.Rows), Width: uint(o.Columns)}
		attach.ConsoleSize = create.ConsoleSize
	}
	made, err := e.c.ExecCreate(ctx, id, create)
	if says(err, "is not running", "is paused", "is restarting") {
		return nil, fault.Conflict("%s", said(err))
	}
	if err != nil {
		return nil, e.told(ctx, err)
	}
	at, err := e.c.ExecAttach(ctx, made.ID, attach)
	if err != nil {
		return nil, e.told(ctx, err)
	}
	return &Execution{Out: at.Reader, e: e, id: made.ID, at: at.HijackedResponse}, nil
}

// Write is to the command's standard input.
func (x *Execution) Write(p []byte) (int, error) { return x.at.Conn.Write(p) }

// CloseWrite ends the command's standard input.
func (x *Execution) CloseWrite() error { return x.at.CloseWrite() }

// Resize tells the size of its terminal.
func (x *Execution) Resize(ctx context.Context, rows, columns uint16) error {
	_, err := x.e.c.ExecResize(ctx, x.id, client.ExecResizeOptions{Height: uint(rows), Width: uint(columns)})
	return x.e.told(ctx, err)
}

// Code is the exit code of a command whose Out has ended.
func (x *Execution) Code(ctx context.Context) (int, error) {
	in, err := x.e.c.ExecInspect(ctx, x.id, client.ExecInspectOptions{})
	return in.ExitCode, x.e.told(ctx, err)
}

// Close lets go of a command. One that still runs is killed, where its processes are seen
// from here.
func (x *Execution) Close(ctx context.Context) {
	x.e.endExec(ctx, x.id)
	x.at.Close()
}

// Top is the processes of a container as ps with some options shows them.
func (e *Engine) Top(ctx context.Context, id string, options []string) (titles []string, rows [][]string, err error) {
	top, err := e.c.ContainerTop(ctx, id, client.ContainerTopOptions{Arguments: options})
	return top.Titles, top.Processes, e.told(ctx, err)
}
