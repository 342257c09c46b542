"""What a campaign that runs itself begins next: pauses, hosts that are left out, and notices."""
