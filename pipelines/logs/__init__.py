"""How every part writes its log: readable or as JSON, without the personal data that can be recognised."""
