package db

import (
	"database/sql/driver"
	"encoding/binary"
	"io"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/stdlib"
)

// copyIn inserts all rows by COPY in its binary form, which costs PostgreSQL a fraction of an INSERT from arrays and
// fails alike where a row is refused.
func (t *Tx) copyIn(table string, cols []string, data []any, rows int) (int64, error) {
	var n int64
	stream := &copyStream{data: data, rows: rows}
	// After a broken connection pgx may still be reading on a goroutine of its own; the rows are the caller's again.
	defer stream.stop()
	err := t.conn.Raw(func(dc any) error {
		c, ok := dc.(*stdlib.Conn)
		if !ok {
			return driver.ErrBadConn
		}
		tag, err := c.Conn().PgConn().CopyFrom(t.stmtCtx(), stream,
			"COPY "+table+" ("+strings.Join(cols, ", ")+") FROM STDIN BINARY")
		n = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, t.fail(err)
	}
	return n, nil
}

// copyStream encodes rows in PostgreSQL's binary COPY format as they are read, so that the server works on the
// first while the rest is encoded.
type copyStream struct {
	mu   sync.Mutex // guards all below
	data []any
	rows int
	next int    // row
	buf  []byte // encoded and not yet read
	all  []byte // the array of buf
}

// Read implements io.Reader.
func (c *copyStream) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.data == nil {
		return 0, io.ErrClosedPipe
	}
	if len(c.buf) == 0 {
		if c.next > c.rows {
			return 0, io.EOF
		}
		c.all = c.all[:0]
		c.encode(len(p))
		c.buf = c.all
	}
	n := copy(p, c.buf)
	c.buf = c.buf[n:]
	return n, nil
}

// stop makes every later Read fail; when it returns none is under way.
func (c *copyStream) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.data = nil
}

// encode fills all with about size bytes. Called with mu held.
func (c *copyStream) encode(size int) {
	if c.next == 0 {
		c.all = append(c.all, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	}
	for ; c.next < c.rows && len(c.all) < size; c.next++ {
		c.all = binary.BigEndian.AppendUint16(c.all, uint16(len(c.data)))
		for _, d := range c.data {
			c.all = appendField(c.all, d, c.next)
		}
	}
	if c.next == c.rows && len(c.all) < size {
		c.all = append(c.all, 0xff, 0xff)
		c.next++
	}
}

// appendField appends the length and the bytes of one field; length −1 is NULL.
func appendField(b []byte, column any, r int) []byte {
	null := func() []byte { return append(b, 0xff, 0xff, 0xff, 0xff) }
	integer := func(n int64) []byte {
		return binary.BigEndian.AppendUint64(append(b, 0, 0, 0, 8), uint64(n))
	}
	switch d := column.(type) {
	case []string:
		return append(binary.BigEndian.AppendUint32(b, uint32(len(d[r]))), d[r]...)
	case []int64:
		return integer(d[r])
	case [][]byte:
		if d[r] == nil {
			return null()
		}
		return append(binary.BigEndian.AppendUint32(b, uint32(len(d[r]))), d[r]...)
	case []*string:
		if d[r] == nil {
			return null()
		}
		return append(binary.BigEndian.AppendUint32(b, uint32(len(*d[r]))), *d[r]...)
	case []*int64:
		if d[r] == nil {
			return null()
		}
		return integer(*d[r])
	}
	panic("db: InsertRows: height admitted a type that appendField does not know")
}
