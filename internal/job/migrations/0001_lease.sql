CREATE TABLE job_lease (
	name TEXT NOT NULL PRIMARY KEY,
	holder TEXT NOT NULL,
	epoch BIGINT NOT NULL CHECK (epoch > 0),
	until BIGINT NOT NULL
) {{without_rowid}};
