package sink

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLSConfig says whom a back end behind TLS trusts, and who it is.
type TLSConfig struct {
	CA   string `toml:"ca" doc:"File (PEM) with the authorities whose certificates are taken; empty are the system's."`
	Cert string `toml:"cert" doc:"File (PEM) with the certificate that is shown, and what leads to its authority."`
	Key  string `toml:"key" doc:"File (PEM) with the key of that certificate."`
}

// Load reads the files.
func (c *TLSConfig) Load() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	var errs []error
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		out.RootCAs = x509.NewCertPool()
		if err == nil && !out.RootCAs.AppendCertsFromPEM(pem) {
			err = fmt.Errorf("%s has no certificate", c.CA)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("ca: %w", err))
		}
	}
	if c.Cert != "" || c.Key != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		out.Certificates = []tls.Certificate{pair}
		if err != nil {
			errs = append(errs, fmt.Errorf("cert and key: %w", err))
		}
	}
	return out, errors.Join(errs...)
}
