package onnx

// Kill kills the child as a crash would.
func (s *Session) Kill() { s.c.Kill() }
