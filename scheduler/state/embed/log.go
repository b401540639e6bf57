package embed

import (
	"context"
	"log/slog"
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logger is etcd's, whose lines go to log.
func logger(log *slog.Logger, last *lastWords) *zap.Logger {
	return zap.New(&core{log: log}, zap.WithPanicHook(last), zap.WithFatalHook(last))
}

// core hands lines on, one level lower: what etcd does every day is of interest to who
// looks for a fault only, and what it calls an error is often one of its peers'.
type core struct {
	log  *slog.Logger
	with []zapcore.Field
}

func level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.DPanicLevel:
		return slog.LevelError
	case l >= zapcore.ErrorLevel:
		return slog.LevelWarn
	case l >= zapcore.WarnLevel:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// Enabled is for zap.
func (c *core) Enabled(l zapcore.Level) bool {
	return l > zapcore.DebugLevel && c.log.Enabled(context.Background(), level(l)) //nolint:forbidigo // zap has none
}

// With is for zap.
func (c *core) With(fields []zapcore.Field) zapcore.Core {
	return &core{c.log, append(slices.Clip(c.with), fields...)}
}

// Check is for zap.
func (c *core) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

// closing are lines of level error that a server writes when it is closed as it should be.
const closing = "setting up serving from embedded etcd failed."

// Write is for zap.
func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	to := level(e.Level)
	if e.Message == closing {
		to = slog.LevelDebug
	}
	values := zapcore.NewMapObjectEncoder()
	for _, f := range append(slices.Clip(c.with), fields...) {
		f.AddTo(values)
	}
	attrs := make([]slog.Attr, 0, len(values.Fields))
	for key, value := range values.Fields {
		attrs = append(attrs, slog.Any(key, value))
	}
	c.log.LogAttrs(context.Background(), to, "etcd: "+e.Message, attrs...) //nolint:forbidigo,sloglint // zap has no context, and the message is etcd's
	return nil
}

// Sync is for zap.
func (*core) Sync() error { return nil }
