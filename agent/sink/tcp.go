package sink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
)

// TCPAddress reads the address in a URL tcp://HOST:PORT.
func TCPAddress(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "tcp" || u.Hostname() == "" || u.Port() == "" || u.Path != "" {
		return "", fmt.Errorf("url: want tcp://HOST:PORT, not %q", text)
	}
	return u.Host, nil
}

// Exchange calls f with a connection, which ends with ctx and after f.
func Exchange(ctx context.Context, address string, f func(net.Conn) error) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
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
