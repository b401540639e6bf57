package authz

import (
	"bytes"
	"context"
	"crypto/subtle"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/docker/go-plugins-helpers/authorization"

	"github.com/mosdocker/mosdocker/authz/judge"
	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/authz/request"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
)

// register adds the calls of the authorization protocol.
func (d *Daemon) register(s *pluginsrv.Server) {
	s.Implements(authorization.AuthZApiImplements)
	pluginsrv.HandleBounded(s, "/"+authorization.AuthZApiRequest, d.authzReq)
	// The answer has had its effect, and all that could be refused is the telling; but a new
	// container can be taken back before anybody has its name.
	pluginsrv.Mostly(s, "/"+authorization.AuthZApiResponse, authorization.Response{Allow: true},
		func(head []byte) bool {
			return bytes.Contains(head, []byte("/containers/create")) || bytes.Contains(head, []byte("/volumes/create"))
		}, d.authzRes)
}

// authzRes looks at a container that was made, see [engine.verify], or a volume, see [ownVolume].
func (d *Daemon) authzRes(ctx context.Context, r authorization.Request) (authorization.Response, error) {
	fine := authorization.Response{Allow: true}
	f := d.inForce.Load()
	if r.ResponseStatusCode != http.StatusCreated || d.ours(r.RequestHeaders[secretHeader]) || f == nil {
		return fine, nil
	}
	v := judge.Judge(f.Policy, judge.Plugin, tlsClient(r), raw(r), judge.Things{})
	if v.Mode != policy.Enforce {
		return fine, nil
	}
	if v.Edit.Made != "" {
		if err := ownVolume(r.ResponseBody, v.Edit.Made); err != nil {
			return authorization.Response{}, err
		}
		return fine, nil
	}
	if v.Edit.Ours == nil {
		return fine, nil
	}
	var made struct {
		ID string `json:"Id"`
	}
	if err := json.Unmarshal(r.ResponseBody, &made); err != nil {
		return authorization.Response{}, fmt.Errorf("the new container: %w", err)
	}
	why, err := d.engine.verify(ctx, made.ID, v.Edit.Ours)
	if err != nil || why != "" {
		return authorization.Response{Msg: why}, err
	}
	return fine, nil
}

// authzReq answers whether an Engine may serve a request.
func (d *Daemon) authzReq(ctx context.Context, t told) (authorization.Response, error) {
	r := authorization.Request(t)
	if d.ours(r.RequestHeaders[secretHeader]) {
		return authorization.Response{Allow: true}, nil
	}
	v := d.decide(ctx, judge.Plugin, tlsClient(r), raw(r))
	if !v.Allow {
		if v.Missing != nil { // docker inspect goes on to the next kind of object after "not supported", as after 404
			v.Reason += " (status 404 is not supported by authorization plugins)"
		}
		return authorization.Response{Msg: v.Reason + " [" + v.Rule + "]"}, nil
	}
	return authorization.Response{Allow: true}, nil
}

// raw is a request as an Engine shows it.
func raw(r authorization.Request) request.Raw {
	raw := request.Raw{Method: r.RequestMethod, URI: r.RequestURI, Body: r.RequestBody, Header: map[string][]string{}}
	for _, k := range []string{"Content-Type", "Content-Length", "Upgrade"} {
		if v, ok := r.RequestHeaders[k]; ok {
			raw.Header[k] = []string{v}
		}
	}
	return raw
}

// ours says whether a request carries this process's secret.
func (d *Daemon) ours(secret string) bool {
	return subtle.ConstantTimeCompare([]byte(secret), []byte(d.secret)) == 1
}

// tlsClient is who sends a request, as far as an Engine tells: the names of his
// certificate, or nothing.
func tlsClient(r authorization.Request) policy.Who {
	if len(r.RequestPeerCertificates) == 0 || r.RequestPeerCertificates[0] == nil {
		return policy.Who{CN: r.User}
	}
	c := x509.Certificate(*r.RequestPeerCertificates[0])
	w := policy.Who{CN: c.Subject.CommonName, SAN: append(append([]string{}, c.DNSNames...), c.EmailAddresses...)}
	for _, u := range c.URIs {
		w.SAN = append(w.SAN, u.String())
	}
	for _, ip := range c.IPAddresses {
		w.SAN = append(w.SAN, ip.String())
	}
	if w.CN == "" && len(w.SAN) == 0 {
		w.CN = "?" // a certificate without a name is not the local socket
	}
	return w
}
