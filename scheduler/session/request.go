package session

import (
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Verb is what a session is for.
type Verb string

// The verbs.
const (
	Logs Verb = "logs"
	Exec Verb = "exec"
	Top  Verb = "top"
)

// Request says what is wanted of a container of a set.
type Request struct {
	Verb      Verb   `json:"verb"`
	Container string `json:"container"` // its name in the set

	// Of logs, as docker logs has them.
	Follow     bool   `json:"follow,omitzero"`
	Timestamps bool   `json:"timestamps,omitzero"`
	Tail       string `json:"tail,omitzero"`
	Since      string `json:"since,omitzero"`
	Until      string `json:"until,omitzero"`

	// Command is that of exec, or the options for ps of top.
	Command []string `json:"command,omitzero"`

	// Of exec, as docker exec has them. Rows and Columns are of the terminal.
	TTY     bool     `json:"tty,omitzero"`
	Stdin   bool     `json:"stdin,omitzero"`
	Env     []string `json:"env,omitzero"`
	User    string   `json:"user,omitzero"`
	Dir     string   `json:"dir,omitzero"`
	Rows    uint16   `json:"rows,omitzero"`
	Columns uint16   `json:"columns,omitzero"`
}

// Offer is a session as a host is told of it.
type Offer struct {
	ID  string `json:"id"`
	Set string `json:"set"`
	UID string `json:"uid"` // of the set
	Request
}

// Check says what cannot be meant. The error is of class InvalidArgument.
func (r *Request) Check() error {
	switch {
	case !slices.Contains([]Verb{Logs, Exec, Top}, r.Verb):
		return fault.Invalid("verb: %.40q is none: take %s, %s or %s", r.Verb, Logs, Exec, Top)
	case r.Container == "":
		return fault.Invalid("container: name one of the set")
	case r.Verb == Exec && (len(r.Command) == 0 || r.Command[0] == ""):
		return fault.Invalid("command: exec needs one")
	}
	for _, text := range slices.Concat(r.Command, r.Env, []string{r.User, r.Dir, r.Tail, r.Since, r.Until}) {
		if strings.ContainsRune(text, 0) {
			return fault.Invalid("%.40q has a zero byte", text)
		}
	}
	return nil
}
