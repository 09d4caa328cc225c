package server

import (
	"crypto/tls"
	"os"
	"sync"
	"time"
)

// reloader serves a certificate from files and takes a renewed one without a restart.
type reloader struct {
	certFile, keyFile string

	mu      sync.Mutex
	cert    *tls.Certificate // guarded by mu
	changed time.Time        // guarded by mu: the file's time when it was read
	checked time.Time        // guarded by mu
}

func newReloader(certFile, keyFile string) (*reloader, error) {
	r := &reloader{certFile: certFile, keyFile: keyFile}
	return r, r.load()
}

// load reads the files. Called with mu held, or before the reloader is shared.
func (r *reloader) load() error {
	st, err := os.Stat(r.certFile)
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(r.certFile, r.keyFile)
	if err != nil {
		return err
	}
	r.cert, r.changed = &cert, st.ModTime()
	return nil
}

// expires is when the certificate does.
func (r *reloader) expires() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cert.Leaf.NotAfter
}

// get looks at the file once a minute. A pair that cannot be read, half replaced for instance, leaves the old one in use.
func (r *reloader) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.checked) > time.Minute {
		r.checked = now
		if st, err := os.Stat(r.certFile); err == nil && !st.ModTime().Equal(r.changed) {
			_ = r.load()
		}
	}
	return r.cert, nil
}
