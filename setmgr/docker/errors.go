package docker

import (
	"context"
	"strings"

	"github.com/moby/moby/client"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// told is an error of a call as its user is to read it: that ctx is over, or that no
// Engine answers, in words; all others as they are.
func (e *Engine) told(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case client.IsErrConnectionFailed(err):
		return fault.Unavailable("the Docker Engine at %s does not answer: does it run (systemctl start docker), and is the context right (docker context ls)?", e.c.DaemonHost())
	}
	return err
}

// says looks for words that an Engine of this or that age gives its errors, which
// have one class for all.
func says(err error, words ...string) bool {
	if err == nil {
		return false
	}
	text := strings.ToLower(err.Error())
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// said is what an Engine said, for a sentence that goes on from there.
func said(err error) string {
	return strings.TrimPrefix(err.Error(), "Error response from daemon: ")
}
