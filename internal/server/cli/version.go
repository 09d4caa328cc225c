package cli

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
)

// versionInfo is what `version -json` prints.
type versionInfo struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	Revision string `json:"revision,omitempty"` // of the source, where the build knows it
	Time     string `json:"time,omitempty"`     // of the revision
	Modified bool   `json:"modified,omitempty"` // the source had changes beside it
}

func version() Command {
	return Command{Name: "version", Summary: "print the version",
		About:   "Prints the version of this program. With -json it prints {\"version\",\"go\",\"os\",\"arch\",\"revision\",\"time\",\"modified\"}.",
		Codes:   "0 done, 2 wrong usage",
		Example: "tollgate version -json",
		Setup: func(fs *flag.FlagSet) Run {
			asJSON := jsonFlag(fs)
			return func(_ context.Context, env *Env, _ []string) error {
				v := versionInfo{Version: env.Version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
				if info, ok := debug.ReadBuildInfo(); ok {
					for _, s := range info.Settings {
						switch s.Key {
						case "vcs.revision":
							v.Revision = s.Value
						case "vcs.time":
							v.Time = s.Value
						case "vcs.modified":
							v.Modified = s.Value == "true"
						}
					}
				}
				if *asJSON {
					return printJSON(env.Stdout, v)
				}
				_, err := fmt.Fprintf(env.Stdout, "tollgate %s (%s, %s/%s)\n", v.Version, v.Go, v.OS, v.Arch)
				return err
			}
		}}
}
