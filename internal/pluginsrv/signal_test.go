package pluginsrv

import (
	"context"
	"os/signal"
	"syscall"
)

func notifyContext() (context.Context, func()) {
	return signal.NotifyContext(context.Background(), syscall.SIGTERM)
}
