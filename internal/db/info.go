package db

import (
	"context"
	"time"
)

// Info is what the engine says of itself, for doctor.
type Info struct {
	Version string        // of the engine
	Size    int64         // bytes of the database; for SQLite without its write-ahead log
	Latency time.Duration // of a transaction with one query
	Ahead   time.Duration // the engine's clock before this process's, at least; zero for SQLite
}

// Info asks the engine.
func (d *DB) Info(ctx context.Context) (Info, error) {
	var in Info
	start := time.Now()
	err := d.View(ctx, func(tx *Tx) error { return tx.QueryRow(`SELECT 1`).Scan(new(int64)) })
	in.Latency = time.Since(start)
	if err != nil {
		return in, err
	}
	return in, d.View(ctx, func(tx *Tx) error {
		if d.engine == SQLite {
			return tx.QueryRow(`SELECT sqlite_version(), (SELECT page_count FROM pragma_page_count()) * (SELECT page_size FROM pragma_page_size())`).Scan(&in.Version, &in.Size)
		}
		if err := tx.QueryRow(`SELECT current_setting('server_version'), pg_database_size(current_database())`).Scan(&in.Version, &in.Size); err != nil {
			return err
		}
		var us int64
		before := time.Now()
		err := tx.QueryRow(`SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)`).Scan(&us)
		after := time.Now()
		switch at := Time(us); { // the answer was made somewhere between before and after
		case at.After(after):
			in.Ahead = at.Sub(after)
		case at.Before(before):
			in.Ahead = at.Sub(before)
		}
		return err
	})
}

// Compare checks, without changing anything, that the database has exactly the migrations of the sets. The
// errors are those of [DB.Migrate]; pending counts migrations that have not been applied.
func (d *DB) Compare(ctx context.Context, sets ...Migrations) (have, pending int, err error) {
	all, err := load(sets)
	if err != nil {
		return 0, 0, err
	}
	err = d.View(ctx, func(tx *Tx) error {
		done, err := applied(tx)
		if err != nil {
			return err
		}
		have, pending = len(done), max(len(all)-len(done), 0)
		return compare(all, done)
	})
	return have, pending, err
}
