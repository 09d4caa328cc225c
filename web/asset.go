package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

//go:embed assets
var assetFiles embed.FS

// asset is a file of ours. Its path carries a digest of its content, so that it may be kept for ever.
type asset struct {
	path        string
	contentType string
	etag        string
	data        []byte
	zipped      []byte
}

var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// loadAssets returns the files by their name.
func loadAssets() map[string]*asset {
	all := map[string]*asset{}
	files, err := fs.ReadDir(assetFiles, "assets")
	if err != nil {
		panic(err) // the folder is embedded
	}
	for _, f := range files {
		data, err := assetFiles.ReadFile("assets/" + f.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(data)
		digest := base64.RawURLEncoding.EncodeToString(sum[:9])
		ext := path.Ext(f.Name())
		all[f.Name()] = &asset{path: "/assets/" + strings.TrimSuffix(f.Name(), ext) + "." + digest + ext,
			contentType: contentTypes[ext], etag: `"` + digest + `"`, data: data, zipped: zip(data)}
	}
	return all
}

// asset serves a file by the path with its digest.
func (s *site) asset(w http.ResponseWriter, r *http.Request) {
	for _, a := range s.assets {
		if a.path == r.URL.Path {
			a.serve(w, r, "public, max-age=31536000, immutable")
			return
		}
	}
	s.missing(w, r)
}

func (s *site) icon(w http.ResponseWriter, r *http.Request) {
	s.assets["icon.svg"].serve(w, r, "public, max-age=86400")
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request, cache string) {
	h := w.Header()
	h.Set("Cache-Control", cache)
	h.Set("ETag", a.etag)
	h.Set("Vary", "Accept-Encoding")
	if r.Header.Get("If-None-Match") == a.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", a.contentType)
	data := a.data
	if gzips(r) {
		h.Set("Content-Encoding", "gzip")
		data = a.zipped
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) // the client left: nothing to do
}

// send sends a text, compressed where the client likes it and it is worth it.
func send(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	h := w.Header()
	h.Add("Vary", "Accept-Encoding")
	if len(body) > 1000 && gzips(r) {
		h.Set("Content-Encoding", "gzip")
		body = zip(body)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// gzips reports whether the client takes gzip.
func gzips(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		coding, params, _ := strings.Cut(part, ";")
		if strings.TrimSpace(coding) != "gzip" {
			continue
		}
		q, stated := strings.CutPrefix(strings.TrimSpace(params), "q=")
		return !stated || strings.Trim(q, "0.") != ""
	}
	return false
}

var zippers = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, 5)
	if err != nil {
		panic(err) // the level is valid
	}
	return z
}}

func zip(data []byte) []byte {
	var b bytes.Buffer
	z, ok := zippers.Get().(*gzip.Writer)
	if !ok {
		panic("web: the pool holds something else")
	}
	defer zippers.Put(z)
	z.Reset(&b)
	_, err := z.Write(data)
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		panic(err) // a buffer does not fail
	}
	return b.Bytes()
}
