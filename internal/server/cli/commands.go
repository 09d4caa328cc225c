package cli

// Commands are the commands of this room, in the order of the help.
func Commands() []Command {
	return []Command{apply(), diff(), export(), keys(), credit(), wallet(), usage(), ledger(), rate(), doctor(), sealer(), nodes(), version()}
}
