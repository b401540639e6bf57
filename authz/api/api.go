// Package api is the types and the client of mos-authz's admin API, which is all
// of authz that other parts may use.
package api

import (
	"context"
	"net/http"
	"time"

	"github.com/mosdocker/mosdocker/internal/adminapi"
)

// DefaultSocket is where the daemon serves unless it is configured otherwise.
const DefaultSocket = "/run/mos/mos-authz.sock"

// Status is how the daemon is.
type Status struct {
	Version string    `json:"version"`
	Policy  string    `json:"policy"`            // the file
	Hash    string    `json:"hash,omitempty"`    // of the policy in force, empty when there is none
	Since   time.Time `json:"since,omitzero"`    // when it came into force
	Error   string    `json:"error,omitempty"`   // why the file's last change is not in force
	Listen  string    `json:"listen,omitempty"`  // the guarded socket
	Shut    string    `json:"shut,omitempty"`    // why its group does not reach the guarded socket, and what to do
	Audit   string    `json:"audit,omitempty"`   // the audit log
	Engine  string    `json:"engine,omitempty"`  // version of the Engine
	Warning string    `json:"warning,omitempty"` // what the plugin alone cannot guard there
}

// ExplainRequest asks what would become of a request. It is not sent on.
type ExplainRequest struct {
	Who    string `json:"who"`    // such as "uid=1000 gid=2000", "cn=web" or "local"
	Front  string `json:"front"`  // proxy or plugin
	Method string `json:"method"` // of HTTP
	URI    string `json:"uri"`
	Body   string `json:"body,omitempty"`
}

// Explanation is the answer.
type Explanation struct {
	Allow   bool   `json:"allow"`  // it would go through
	Denied  bool   `json:"denied"` // the policy says no, in whatever mode
	Mode    string `json:"mode"`
	Subject string `json:"subject,omitempty"`
	Profile string `json:"profile,omitempty"`
	Action  string `json:"action,omitempty"`
	Object  string `json:"object,omitempty"`
	Rule    string `json:"rule"`
	Reason  string `json:"reason,omitempty"`
	Change  string `json:"change,omitempty"` // what the guarded socket would change in it
	Share   string `json:"share,omitempty"`  // what the client may have of the guarded socket
}

// Client asks one daemon. A daemon that does not answer gives an error of class
// Unavailable.
type Client struct{ *adminapi.Client }

// New returns a client of the daemon at a unix socket; "" is [DefaultSocket].
func New(socket string) *Client {
	if socket == "" {
		socket = DefaultSocket
	}
	return &Client{adminapi.New("mos-authz", socket)}
}

// Status is how the daemon is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return adminapi.Get[Status](ctx, c.Client, "/v1/status")
}

// Reload reads the policy file at once. An error is why it did not come into force.
func (c *Client) Reload(ctx context.Context) (Status, error) {
	return adminapi.Send[Status](ctx, c.Client, http.MethodPost, "/v1/reload", nil)
}

// Explain asks what would become of a request.
func (c *Client) Explain(ctx context.Context, r ExplainRequest) (Explanation, error) {
	return adminapi.Send[Explanation](ctx, c.Client, http.MethodPost, "/v1/explain", r)
}
