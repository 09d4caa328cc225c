package db

import (
	"bytes"
	"database/sql/driver"
	"encoding/binary"
	"strings"

	"github.com/jackc/pgx/v5/stdlib"
)

// copyIn inserts all rows by COPY in its binary form, which costs PostgreSQL a fraction of an INSERT from arrays and
// fails alike where a row is refused.
func (t *Tx) copyIn(table string, cols []string, data []any, rows int) (int64, error) {
	var n int64
	err := t.conn.Raw(func(dc any) error {
		c, ok := dc.(*stdlib.Conn)
		if !ok {
			return driver.ErrBadConn
		}
		tag, err := c.Conn().PgConn().CopyFrom(t.stmtCtx(), bytes.NewReader(copyData(data, rows)),
			"COPY "+table+" ("+strings.Join(cols, ", ")+") FROM STDIN BINARY")
		n = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, t.fail(err)
	}
	return n, nil
}

// copyData encodes rows in PostgreSQL's binary COPY format.
func copyData(data []any, rows int) []byte {
	b := make([]byte, 0, copySize(data, rows))
	b = append(b, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	for r := range rows {
		b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
		for _, d := range data {
			b = appendField(b, d, r)
		}
	}
	return append(b, 0xff, 0xff)
}

// copySize is how many bytes copyData makes.
func copySize(data []any, rows int) int {
	size := 19 + 2 + rows*(2+4*len(data))
	for _, d := range data {
		switch d := d.(type) {
		case []string:
			for _, s := range d {
				size += len(s)
			}
		case [][]byte:
			for _, s := range d {
				size += len(s)
			}
		case []*string:
			for _, s := range d {
				if s != nil {
					size += len(*s)
				}
			}
		default:
			size += 8 * rows
		}
	}
	return size
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
