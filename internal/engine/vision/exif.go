package vision

import (
	"encoding/binary"
	"math"
)

// meta is the little that we read of a file's metadata. Nothing of it is written again.
type meta struct {
	orientation           int // 1 to 8
	progressive           bool
	tileWidth, tileHeight uint32 // of a TIFF; 0: strips
}

// wasteful reports whether a TIFF's tiles cover far more than its picture: such a file is small and takes
// gigabytes of decompression.
func (m meta) wasteful(w, h int) bool {
	if m.tileWidth == 0 || m.tileHeight == 0 {
		return false
	}
	across := math.Ceil(float64(w)/float64(m.tileWidth)) * float64(m.tileWidth)
	down := math.Ceil(float64(h)/float64(m.tileHeight)) * float64(m.tileHeight)
	return across*down > 4*float64(w)*float64(h)+4<<20
}

// readMeta reads the orientation of an image file. It never fails: what cannot be read is as if it were
// not there, as other viewers have it.
func readMeta(format string, data []byte) meta {
	m := meta{orientation: 1}
	switch format {
	case "jpeg":
		m.jpeg(data)
	case "png":
		m.png(data)
	case "webp":
		m.webp(data)
	case "tiff":
		m.tiff(data)
	}
	if m.orientation < 1 || m.orientation > 8 {
		m.orientation = 1
	}
	return m
}

// jpeg walks the marker segments up to the first scan (ITU T.81, annex B).
func (m *meta) jpeg(data []byte) {
	m.progressive = true // until a frame header says otherwise
	found := false
	for i := 2; i+4 <= len(data); {
		if data[i] != 0xff {
			return
		}
		kind := data[i+1]
		if kind == 0xff { // fill byte
			i++
			continue
		}
		if kind == 0xda || kind == 0xd9 { // scan, end
			return
		}
		n := int(binary.BigEndian.Uint16(data[i+2:]))
		end := i + 2 + n
		if n < 2 || end > len(data) {
			return
		}
		body := data[i+4 : end]
		switch {
		case kind == 0xc0 || kind == 0xc1:
			m.progressive = false
		case kind == 0xe1 && !found && len(body) > 6 && string(body[:6]) == "Exif\x00\x00":
			found = true
			m.tiff(body[6:])
		}
		i = end
	}
}

// png looks for eXIf, which precedes the end of the file (PNG, 11.3.5).
func (m *meta) png(data []byte) {
	for i := 8; i+12 <= len(data); {
		n := binary.BigEndian.Uint32(data[i:])
		if uint64(n) > uint64(len(data)-i-12) {
			return
		}
		if string(data[i+4:i+8]) == "eXIf" {
			m.tiff(data[i+8 : i+8+int(n)])
			return
		}
		i += 12 + int(n)
	}
}

// webp looks for the EXIF chunk (RFC 9649, 2.7.1.4). Some writers keep JPEG's prefix in it.
func (m *meta) webp(data []byte) {
	for i := 12; i+8 <= len(data); {
		n := binary.LittleEndian.Uint32(data[i+4:])
		if uint64(n) > uint64(len(data)-i-8) {
			return
		}
		if string(data[i:i+4]) == "EXIF" {
			body := data[i+8 : i+8+int(n)]
			if len(body) > 6 && string(body[:6]) == "Exif\x00\x00" {
				body = body[6:]
			}
			m.tiff(body)
			return
		}
		i += 8 + int(n) + int(n&1)
	}
}

// Tags of TIFF 6.0.
const (
	tagOrientation = 0x0112
	tagTileWidth   = 0x0142
	tagTileLength  = 0x0143
)

// tiff reads the first directory of a TIFF structure, which is also what EXIF data are.
func (m *meta) tiff(data []byte) {
	if len(data) < 8 {
		return
	}
	var order binary.ByteOrder
	switch string(data[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return
	}
	at := uint64(order.Uint32(data[4:]))
	if at+2 > uint64(len(data)) {
		return
	}
	n := int(order.Uint16(data[at:]))
	entries := data[at+2:]
	for ; n > 0 && len(entries) >= 12; n-- {
		tag, value := order.Uint16(entries), entry(order, entries)
		switch tag {
		case tagOrientation:
			m.orientation = int(min(value, 9))
		case tagTileWidth:
			m.tileWidth = value
		case tagTileLength:
			m.tileHeight = value
		}
		entries = entries[12:]
	}
}

// entry is the one number of a directory entry, or, where there is not exactly one, more than any of the
// tags that we read may have.
func entry(order binary.ByteOrder, e []byte) uint32 {
	if order.Uint32(e[4:]) != 1 {
		return math.MaxUint32
	}
	switch order.Uint16(e[2:]) {
	case 1: // BYTE
		return uint32(e[8])
	case 3: // SHORT
		return uint32(order.Uint16(e[8:]))
	case 4: // LONG
		return order.Uint32(e[8:])
	}
	return math.MaxUint32
}
