package speech

import (
	"bytes"
	"encoding/binary"
)

// container is a kind of sound file, told by its first bytes. demuxer is FFmpeg's name of it: it is given, never
// probed, so that a playlist or another file that names files is not followed.
type container struct {
	name    string // for people, and SoX's type where it has one
	demuxer string
	sox     bool
}

var (
	flac = container{"flac", "flac", true}
	mp3  = container{"mp3", "mp3", true}
	ogg  = container{"ogg", "ogg", true}
	webm = container{"webm", "matroska", false}
	mp4  = container{"m4a", "mov", false}
	aac  = container{"aac", "aac", false}
	aiff = container{"aiff", "aiff", true}
	amr  = container{"amr", "amr", false}
	caf  = container{"caf", "caf", false}
)

// containerOf tells the kind of a sound file other than WAV.
func containerOf(b []byte) (container, bool) {
	is := func(at int, s string) bool { return len(b) >= at+len(s) && string(b[at:at+len(s)]) == s }
	switch {
	case is(0, "fLaC"):
		return flac, true
	case is(0, "OggS"):
		return ogg, true
	case is(0, "\x1a\x45\xdf\xa3"):
		return webm, true
	case is(4, "ftyp"):
		return mp4, true
	case is(0, "FORM") && (is(8, "AIFF") || is(8, "AIFC")):
		return aiff, true
	case is(0, "#!AMR"):
		return amr, true
	case is(0, "caff"):
		return caf, true
	case is(0, "ID3"):
		return mp3, true
	case len(b) > 2 && b[0] == 0xff && b[1]&0xf6 == 0xf0:
		return aac, true
	case len(b) > 2 && b[0] == 0xff && b[1]&0xe0 == 0xe0:
		return mp3, true
	}
	return container{}, false
}

// slowest is the least bytes a second of a codec for speech that is in use: Opus and AMR go down to 6 and 4.75 kbit/s.
const slowest = 590

// playing is the milliseconds that a compressed file plays, by what its headers say; without a word from them, what
// so many bytes can hold at most at the lowest plausible bit rate. Decoding stops there whatever the file holds.
func playing(kind container, b []byte) int64 {
	var ms int64
	switch kind {
	case flac:
		ms = flacPlays(b)
	case ogg:
		ms = oggPlays(b)
	case mp3:
		ms = mp3Plays(b)
	case mp4:
		ms = mp4Plays(b)
	}
	if ms <= 0 {
		ms = int64(len(b))*1000/slowest + 1
	}
	return ms
}

// ratio is a·1000/b, rounded up; 0 where it has no sense.
func ratio(a, b uint64) int64 {
	if b == 0 || a > 1<<50 {
		return 0
	}
	return int64((a*1000 + b - 1) / b)
}

// flacPlays reads the STREAMINFO block (RFC 9639, 8.2).
func flacPlays(b []byte) int64 {
	if len(b) < 26 || b[4]&0x7f != 0 {
		return 0
	}
	info := binary.BigEndian.Uint64(b[18:])
	return ratio(info&(1<<36-1), info>>44)
}

// oggPlays reads the granule position of the last page (RFC 3533), in samples; of Opus always 48,000 a second
// (RFC 7845).
func oggPlays(b []byte) int64 {
	last := bytes.LastIndex(b, []byte("OggS"))
	if last < 0 || last+14 > len(b) {
		return 0
	}
	granule := binary.LittleEndian.Uint64(b[last+6:])
	head := b[:min(len(b), 256)]
	if bytes.Contains(head, []byte("OpusHead")) {
		return ratio(granule, 48000)
	}
	if i := bytes.Index(head, []byte("\x01vorbis")); i >= 0 && i+16 <= len(head) {
		return ratio(granule, uint64(binary.LittleEndian.Uint32(head[i+12:])))
	}
	return 0
}

var (
	mp3Rates = [4][3]int{3: {44100, 48000, 32000}, 2: {22050, 24000, 16000}, 0: {11025, 12000, 8000}}
	mp3Bits1 = [16]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0} // MPEG 1, layer III
	mp3Bits2 = [16]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0}     // MPEG 2 and 2.5
)

// mp3Plays counts the frames of layer III (ISO/IEC 11172-3, 2.4.2.3). It gives 0 where it loses them.
func mp3Plays(b []byte) int64 {
	if len(b) > 10 && string(b[:3]) == "ID3" {
		size := int(b[6]&0x7f)<<21 | int(b[7]&0x7f)<<14 | int(b[8]&0x7f)<<7 | int(b[9]&0x7f)
		b = b[min(len(b), 10+size):]
	}
	var samples, hz uint64
	for len(b) >= 4 && string(b[:3]) != "TAG" && string(b[:3]) != "APE" {
		n, per, rate := mp3Frame(b)
		if n == 0 || hz != 0 && rate != hz {
			return 0
		}
		samples, hz = samples+per, rate
		b = b[min(n, len(b)):]
	}
	return ratio(samples, hz)
}

// mp3Frame gives the bytes of the frame at b, its samples, and their rate; 0 where there is none.
func mp3Frame(b []byte) (size int, samples, rate uint64) {
	version, layer := b[1]>>3&3, b[1]>>1&3
	if b[0] != 0xff || b[1]&0xe0 != 0xe0 || version == 1 || layer != 1 || b[2]>>2&3 == 3 {
		return 0, 0, 0
	}
	hz := mp3Rates[version][b[2]>>2&3]
	kbit, per := mp3Bits1[b[2]>>4], 1152
	if version != 3 {
		kbit, per = mp3Bits2[b[2]>>4], 576
	}
	if kbit == 0 {
		return 0, 0, 0
	}
	return per/8*kbit*1000/hz + int(b[2]>>1&1), uint64(per), uint64(hz)
}

// box is one of an ISO base media file (ISO/IEC 14496-12, 4.2): its type, its content, and where it begins and ends.
type box struct {
	kind       string
	body       []byte
	start, end int
}

// boxes gives those at the top of b, as far as they can be read.
func boxes(b []byte) (all []box) {
	for at := 0; at+8 <= len(b) && len(all) < 4096; {
		size, head := uint64(binary.BigEndian.Uint32(b[at:])), 8
		switch {
		case size == 0:
			size = uint64(len(b) - at)
		case size == 1 && at+16 <= len(b):
			size, head = binary.BigEndian.Uint64(b[at+8:]), 16
		}
		if size < uint64(head) || size > uint64(len(b)-at) {
			return all
		}
		end := at + int(size)
		all = append(all, box{string(b[at+4 : at+8]), b[at+head : end], at, end})
		at = end
	}
	return all
}

func find(all []box, kind string) *box {
	for i := range all {
		if all[i].kind == kind {
			return &all[i]
		}
	}
	return nil
}

// mp4Plays reads the movie header. A fragmented file has nothing there.
func mp4Plays(b []byte) int64 {
	moov := find(boxes(b), "moov")
	if moov == nil {
		return 0
	}
	h := find(boxes(moov.body), "mvhd")
	switch {
	case h == nil:
	case len(h.body) >= 32 && h.body[0] == 1:
		return ratio(binary.BigEndian.Uint64(h.body[24:]), uint64(binary.BigEndian.Uint32(h.body[20:])))
	case len(h.body) >= 20 && h.body[0] == 0:
		return ratio(uint64(binary.BigEndian.Uint32(h.body[16:])), uint64(binary.BigEndian.Uint32(h.body[12:])))
	}
	return 0
}

// streamable moves the moov box of an MP4 file to the front where it stands after the sound, since a decoder that
// reads from a pipe cannot go back; the offsets in it are moved along. Any other file is returned as it is.
func streamable(b []byte) []byte {
	all := boxes(b)
	moov, mdat := find(all, "moov"), find(all, "mdat")
	if moov == nil || mdat == nil || moov.start < mdat.start {
		return b
	}
	out := make([]byte, 0, len(b))
	out = append(out, b[:mdat.start]...)
	out = append(out, b[moov.start:moov.end]...)
	moved := out[mdat.start:]
	out = append(out, b[mdat.start:moov.start]...)
	out = append(out, b[moov.end:]...)
	shiftOffsets(boxes(moved), int64(moov.start), uint64(moov.end-moov.start), 0)
	return out
}

// shiftOffsets adds by to every chunk offset before limit, in place.
func shiftOffsets(all []box, limit int64, by uint64, depth int) {
	for _, x := range all {
		switch x.kind {
		case "moov", "trak", "mdia", "minf", "stbl":
			if depth < 8 {
				shiftOffsets(boxes(x.body), limit, by, depth+1)
			}
		case "stco":
			for at := 8; at+4 <= len(x.body); at += 4 {
				if v := binary.BigEndian.Uint32(x.body[at:]); int64(v) < limit {
					binary.BigEndian.PutUint32(x.body[at:], v+uint32(by))
				}
			}
		case "co64":
			for at := 8; at+8 <= len(x.body); at += 8 {
				if v := binary.BigEndian.Uint64(x.body[at:]); v < uint64(limit) {
					binary.BigEndian.PutUint64(x.body[at:], v+by)
				}
			}
		}
	}
}
