"""The commands that read RelayPools and MailRoutes: `waystation check` and `waystation local`."""
