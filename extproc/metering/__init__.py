"""What requests take: tokens and money, billed when their end is known."""
