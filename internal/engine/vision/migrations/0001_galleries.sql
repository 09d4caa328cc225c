-- Galleries of faces. What identifies a person, and the vectors, are sealed; there are no pictures.
CREATE TABLE vision_gallery (
  id TEXT NOT NULL PRIMARY KEY,
  owner TEXT NOT NULL,
  name TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX vision_gallery_name ON vision_gallery (owner, name);

-- A person who has consented. details: name, the owner's own id, the statement of consent, by whom and when.
CREATE TABLE vision_person (
  id TEXT NOT NULL PRIMARY KEY,
  gallery TEXT NOT NULL REFERENCES vision_gallery (id),
  owner TEXT NOT NULL,
  details {{blob}} NOT NULL,
  sealed_by TEXT NOT NULL, -- id of the sealer's key
  created_at BIGINT NOT NULL
);
CREATE INDEX vision_person_gallery ON vision_person (gallery, id);
CREATE INDEX vision_person_key ON vision_person (sealed_by);

-- The vector of one face of a person.
CREATE TABLE vision_face (
  person TEXT NOT NULL REFERENCES vision_person (id),
  face BIGINT NOT NULL,
  gallery TEXT NOT NULL,
  owner TEXT NOT NULL,
  model TEXT NOT NULL, -- vectors of different models do not compare
  vector {{blob}} NOT NULL,
  sealed_by TEXT NOT NULL,
  PRIMARY KEY (person, face)
);
CREATE INDEX vision_face_gallery ON vision_face (gallery);
CREATE INDEX vision_face_key ON vision_face (sealed_by);
