package logx

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/sirupsen/logrus"
	slogrus "github.com/sirupsen/logrus/hooks/slog"
)

// Config says how lines look and which are written. Both fields are required.
type Config struct {
	Level  string // debug, info, warn or error
	Format string // text or json
}

// Logger is a slog logger whose level can be changed while it is used.
type Logger struct {
	*slog.Logger
	sink *logrus.Logger
}

// New makes a logger that writes to w. Unknown levels and formats are refused.
func New(w io.Writer, c Config) (*Logger, error) {
	sink := logrus.New()
	sink.SetOutput(w)
	switch c.Format {
	case "text":
		sink.SetFormatter(&logrus.TextFormatter{FullTimestamp: true})
	case "json":
		sink.SetFormatter(&logrus.JSONFormatter{})
	default:
		return nil, fmt.Errorf("log format %q is neither text nor json", c.Format)
	}
	l := &Logger{Logger: slog.New(slogrus.NewHandler(sink, nil)), sink: sink}
	return l, l.SetLevel(c.Level)
}

// SetLevel changes which lines are written from here on, to debug, info, warn
// or error. It may be called while others log.
func (l *Logger) SetLevel(level string) error {
	switch level {
	case "debug", "info", "warn", "error":
	default:
		return fmt.Errorf("log level %q is none of debug, info, warn, error", level)
	}
	lv, err := logrus.ParseLevel(level)
	l.sink.SetLevel(lv)
	return err
}

// Level returns the level in force, in the words that SetLevel takes.
func (l *Logger) Level() string {
	if l.sink.GetLevel() == logrus.WarnLevel {
		return "warn"
	}
	return l.sink.GetLevel().String()
}
