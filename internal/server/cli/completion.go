package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
)

// completion is the command that prints a shell's completion script for the commands.
func completion(commands []Command) Command {
	c := Command{Name: "completion", Summary: "print a completion script for a shell", Args: "bash|zsh|fish", Words: []string{"bash", "zsh", "fish"},
		About: "Prints a script that makes the shell complete tollgate's commands and flags. To have it in every shell:\n\n" +
			"  bash  source <(tollgate completion bash)      in ~/.bashrc\n" +
			"  zsh   source <(tollgate completion zsh)       in ~/.zshrc, after compinit\n" +
			"  fish  tollgate completion fish | source       in ~/.config/fish/config.fish",
		Codes: "0 done, 2 wrong usage", Example: "source <(tollgate completion bash)"}
	c.Setup = func(*flag.FlagSet) Run {
		return func(_ context.Context, env *Env, args []string) error {
			all := append(commands[:len(commands):len(commands)], c)
			switch args[0] {
			case "bash":
				return bash(env.Stdout, all)
			case "zsh":
				return zsh(env.Stdout, all)
			case "fish":
				return fish(env.Stdout, all)
			}
			return usageError(fmt.Sprintf("%q is not bash, zsh or fish", args[0]))
		}
	}
	return c
}

// place is a point of the command line: after which words which words may come.
type place struct {
	path  string // "key create"
	words []word
}

type word struct{ name, about string }

// places walks over the table.
func places(path string, commands []Command) []place {
	here := place{path: path}
	var below []place
	for i := range commands {
		c := &commands[i]
		here.words = append(here.words, word{c.Name, c.Summary})
		at := strings.TrimSpace(path + " " + c.Name)
		if c.Sub != nil {
			below = append(below, places(at, c.Sub)...)
			continue
		}
		p := place{path: at}
		for _, w := range c.Words {
			p.words = append(p.words, word{w, ""})
		}
		fs, _ := c.flags()
		fs.VisitAll(func(f *flag.Flag) {
			_, usage := flag.UnquoteUsage(f)
			p.words = append(p.words, word{"-" + f.Name, usage})
		})
		p.words = append(p.words, word{"-h", "explain the command"})
		below = append(below, p)
	}
	return append([]place{here}, below...)
}

// bash completes by the words before the cursor that are no flags, up to two.
func bash(w io.Writer, commands []Command) error {
	var b strings.Builder
	b.WriteString("# bash completion for tollgate\n_tollgate() {\n" +
		"    local cur=${COMP_WORDS[COMP_CWORD]} path= words= i\n" +
		"    for ((i = 1; i < COMP_CWORD; i++)); do\n" +
		"        case \"$path ${COMP_WORDS[i]}\" in\n            ")
	all := places("", commands)
	for i, p := range all[1:] {
		if i > 0 {
			b.WriteString(" | ")
		}
		fmt.Fprintf(&b, "%q", " "+p.path)
	}
	b.WriteString(") path=\"$path ${COMP_WORDS[i]}\" ;;\n        esac\n    done\n    case $path in\n")
	for _, p := range all {
		names := make([]string, len(p.words))
		for i, x := range p.words {
			names[i] = x.name
		}
		path := p.path
		if path != "" {
			path = " " + path
		}
		fmt.Fprintf(&b, "        %q) words=%q ;;\n", path, strings.Join(names, " "))
	}
	b.WriteString("    esac\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o default -F _tollgate tollgate\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// quoted makes a text one word of a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func zsh(w io.Writer, commands []Command) error {
	var b strings.Builder
	b.WriteString("#compdef tollgate\n# zsh completion for tollgate\n_tollgate() {\n    local path_= w\n    local -a words_\n" +
		"    for w in ${words[2,CURRENT-1]}; do\n        case \"$path_ $w\" in\n            ")
	all := places("", commands)
	for i, p := range all[1:] {
		if i > 0 {
			b.WriteString(" | ")
		}
		fmt.Fprintf(&b, "%q", " "+p.path)
	}
	b.WriteString(") path_=\"$path_ $w\" ;;\n        esac\n    done\n    case $path_ in\n")
	for _, p := range all {
		path := p.path
		if path != "" {
			path = " " + path
		}
		fmt.Fprintf(&b, "        %q) words_=(", path)
		for _, x := range p.words {
			fmt.Fprintf(&b, " %s", quoted(x.name+":"+strings.ReplaceAll(x.about, ":", `\:`)))
		}
		b.WriteString(") ;;\n")
	}
	b.WriteString("    esac\n    _describe -o tollgate words_ || _files\n}\ncompdef _tollgate tollgate\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func fish(w io.Writer, commands []Command) error {
	var b strings.Builder
	all := places("", commands)
	b.WriteString("# fish completion for tollgate\nfunction __tollgate_at\n    set -l path\n    for w in (commandline -opc)[2..-1]\n        switch \"$path $w\"\n            case")
	for _, p := range all[1:] {
		fmt.Fprintf(&b, " %s", quoted(" "+p.path))
	}
	b.WriteString("\n                set path \"$path $w\"\n        end\n    end\n    test \"$path\" = \"$argv[1]\"\nend\n")
	for _, p := range all {
		path := p.path
		if path != "" {
			path = " " + path
		}
		for _, x := range p.words {
			option := "-a " + quoted(x.name)
			if name, isFlag := strings.CutPrefix(x.name, "-"); isFlag {
				option = "-o " + quoted(name)
				if len(name) == 1 {
					option = "-s " + quoted(name)
				}
			} else if p.path == "" || len(p.words) > 0 {
				option = "-f " + option
			}
			fmt.Fprintf(&b, "complete -c tollgate -n %s %s", quoted("__tollgate_at "+quoted(path)), option)
			if x.about != "" {
				fmt.Fprintf(&b, " -d %s", quoted(x.about))
			}
			b.WriteByte('\n')
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
