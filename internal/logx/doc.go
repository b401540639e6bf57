// Package logx makes a daemon's logger: log/slog in front, logrus behind. Code
// elsewhere sees only *slog.Logger; the fixed attribute keys are constants here.
//
// Debug is each step, Info is a changed world, Warn is what was coped with or
// asked wrongly, Error is what someone must act on.
package logx
