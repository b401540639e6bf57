package sink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
)

// TCPAddress reads the address in a URL tcp://HOST:PORT.
func TCPAddress(text string) (string, error) { return address(text, "tcp") }

// TLSAddress reads the address in a URL tls://HOST:PORT.
func TLSAddress(text string) (string, error) { return address(text, "tls") }

func address(text, scheme string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != scheme || u.Hostname() == "" || u.Port() == "" || u.Path != "" {
		return "", fmt.Errorf("url: want %s://HOST:PORT, not %q", scheme, text)
	}
	return u.Host, nil
}

// Exchange calls f with a connection, which ends with ctx and after f. With a secure it
// is one of TLS.
func Exchange(ctx context.Context, address string, secure *tls.Config, f func(net.Conn) error) error {
	var c net.Conn
	var err error
	if secure != nil {
		c, err = (&tls.Dialer{Config: secure}).DialContext(ctx, "tcp", address)
	} else {
		c, err = new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // ends what f waits for
	defer stop()
	err = f(c)
	if cerr := c.Close(); err == nil && !errors.Is(cerr, net.ErrClosed) {
		err = cerr
	}
	return err
}
