// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// The document is text, not values: it is served as it stands, and whoever reads the source reads what clients get. The
// tests compare its paths with the routes. Lines are as long as its sentences.
// swift-format-ignore-file

/// The REST surface as an OpenAPI 3.1 document.
package enum OpenAPIDocument {
    /// JSON in UTF-8.
    package static let json = #"""
        {
          "openapi": "3.1.0",
          "info": {
            "title": "queuepool",
            "version": "0.1.0",
            "summary": "One logical FIFO queue made of many.",
            "description": "A pool spreads message groups over FIFO queues, its shards. A success means that the message is on stable storage. Messages of a group are delivered in one order; a deduplication id is accepted once within five minutes. Errors are problem details (RFC 9457); they name fields, sizes and counts, never content. 429 and 503 carry Retry-After, and a retry with the same deduplication id is safe.",
            "license": {
              "name": "Apache-2.0",
              "identifier": "Apache-2.0"
            }
          },
          "servers": [
            {
              "url": "http://127.0.0.1:9324",
              "description": "The default address."
            }
          ],
          "tags": [
            {
              "name": "messages"
            },
            {
              "name": "pools"
            },
            {
              "name": "dead letters"
            },
            {
              "name": "leases"
            },
            {
              "name": "operation"
            },
            {
              "name": "sqs"
            }
          ],
          "security": [],
          "paths": {
            "/v1/pools/{pool}/messages": {
              "parameters": [
                {
                  "$ref": "#/components/parameters/pool"
                }
              ],
              "post": {
                "operationId": "sendMessages",
                "tags": [
                  "messages"
                ],
                "parameters": [
                  {
                    "$ref": "#/components/parameters/idempotencyKey"
                  }
                ],
                "summary": "Send one message, or a stream of messages",
                "description": "application/json sends one message and answers 202. application/x-ndjson sends one message a line, of any number of lines in constant memory, and answers 200 with one result line for each line that is not blank, in order; a line that fails does not end the stream. A line may have at most 2097152 bytes; a longer one fails with 413.",
                "requestBody": {
                  "required": true,
                  "content": {
                    "application/json": {
                      "schema": {
                        "$ref": "#/components/schemas/Message"
                      },
                      "examples": {
                        "message": {
                          "value": {
                            "group": "customer-1",
                            "body": "hello"
                          }
                        }
                      }
                    },
                    "application/x-ndjson": {
                      "schema": {
                        "type": "string",
                        "description": "One Message object a line, each ended by a line feed."
                      },
                      "examples": {
                        "lines": {
                          "value": "{\"group\":\"customer-1\",\"body\":\"one\"}\n{\"group\":\"customer-2\",\"body\":\"two\"}\n"
                        }
                      }
                    }
                  }
                },
                "responses": {
                  "202": {
                    "description": "The message is on stable storage.",
                    "headers": {
                      "Idempotent-Replayed": {
                        "$ref": "#/components/headers/IdempotentReplayed"
                      }
                    },
                    "content": {
                      "application/json": {
                        "schema": {
                          "$ref": "#/components/schemas/Sent"
                        }
                      }
                    }
                  },
                  "200": {
                    "description": "One result line for each line, in order.",
                    "content": {
                      "application/x-ndjson": {
                        "schema": {
                          "type": "string",
                          "description": "One LineResult object a line: LineSent or LineFailed."
                        },
                        "examples": {
                          "lines": {
                            "value": "{\"line\":1,\"id\":\"5a8b1c0e-5d0f-4a52-9d70-6f0a3f6f0f11\",\"shard\":\"emails-0003.fifo\",\"sequenceNumber\":\"00018850000000000001\",\"duplicate\":false}\n{\"line\":2,\"error\":{\"type\":\"about:blank\",\"title\":\"Invalid field\",\"status\":400,\"detail\":\"group is missing\",\"field\":\"group\"}}\n"
                          }
                        }
                      }
                    }
                  },
                  "400": {
                    "$ref": "#/components/responses/BadRequest"
                  },
                  "413": {
                    "$ref": "#/components/responses/TooLarge"
                  },
                  "409": {
                    "$ref": "#/components/responses/KeyInUse"
                  },
                  "422": {
                    "$ref": "#/components/responses/KeyReused"
                  },
                  "415": {
                    "$ref": "#/components/responses/UnsupportedMediaType"
                  },
                  "404": {
                    "$ref": "#/components/responses/NoSuchPool"
                  },
                  "500": {
                    "$ref": "#/components/responses/Failed"
                  },
                  "429": {
                    "$ref": "#/components/responses/Throttled"
                  },
                  "503": {
                    "$ref": "#/components/responses/Unavailable"
                  }
                }
              }
            },
            "/v1/pools/{pool}/emails": {
              "parameters": [
                {
                  "$ref": "#/components/parameters/pool"
                }
              ],
              "post": {
                "operationId": "sendEmail",
                "tags": [
                  "messages"
                ],
                "summary": "Send one email, an array of emails, or a stream of emails",
                "description": "The email becomes a message whose body is its JSON and whose attribute Content-Type is application/vnd.queuepool.email+json. Without a group, the group is a hash of the first recipient, so that it names nobody. application/json with an object sends one email and answers 202; with an array it sends up to 1000 and answers 200 with a result for each, in order. application/x-ndjson sends an email a line and answers as /messages does. Once an email of a request failed, the later ones of its group fail too, with 424.",
                "parameters": [
                  {
                    "$ref": "#/components/parameters/idempotencyKey"
                  },
                  {
                    "name": "mode",
                    "in": "query",
                    "required": false,
                    "description": "Of an array: each sends every email that is valid; strict sends none unless all are valid.",
                    "schema": {
                      "type": "string",
                      "enum": [
                        "each",
                        "strict"
                      ],
                      "default": "each"
                    }
                  }
                ],
                "requestBody": {
                  "required": true,
                  "content": {
                    "application/json": {
                      "schema": {
                        "oneOf": [
                          {
                            "$ref": "#/components/schemas/Email"
                          },
                          {
                            "type": "array",
                            "maxItems": 1000,
                            "items": {
                              "$ref": "#/components/schemas/Email"
                            }
                          }
                        ]
                      },
                      "examples": {
                        "email": {
                          "value": {
                            "from": "Shop <shop@example.org>",
                            "to": [
                              "customer@example.org"
                            ],
                            "subject": "Your order",
                            "text": "Thank you."
                          }
                        },
                        "array": {
                          "value": [
                            {
                              "from": "Shop <shop@example.org>",
                              "bcc": "customer@example.org",
                              "text": "Thank you."
                            }
                          ]
                        }
                      }
                    },
                    "application/x-ndjson": {
                      "schema": {
                        "type": "string",
                        "description": "One Email object a line, each ended by a line feed."
                      },
                      "examples": {
                        "lines": {
                          "value": "{\"from\":\"shop@example.org\",\"to\":\"customer@example.org\",\"text\":\"Thank you.\"}\n"
                        }
                      }
                    }
                  }
                },
                "responses": {
                  "200": {
                    "description": "A result for each email, in order.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "$ref": "#/components/schemas/EmailResults"
                        }
                      },
                      "application/x-ndjson": {
                        "schema": {
                          "type": "string",
                          "description": "One LineResult object a line: LineSent or LineFailed."
                        }
                      }
                    }
                  },
                  "202": {
                    "description": "The email is on stable storage.",
                    "headers": {
                      "Idempotent-Replayed": {
                        "$ref": "#/components/headers/IdempotentReplayed"
                      }
                    },
                    "content": {
                      "application/json": {
                        "schema": {
                          "$ref": "#/components/schemas/Sent"
                        }
                      }
                    }
                  },
                  "400": {
                    "$ref": "#/components/responses/BadRequest"
                  },
                  "413": {
                    "$ref": "#/components/responses/TooLarge"
                  },
                  "409": {
                    "$ref": "#/components/responses/KeyInUse"
                  },
                  "422": {
                    "$ref": "#/components/responses/KeyReused"
                  },
                  "415": {
                    "$ref": "#/components/responses/UnsupportedMediaType"
                  },
                  "404": {
                    "$ref": "#/components/responses/NoSuchPool"
                  },
                  "500": {
                    "$ref": "#/components/responses/Failed"
                  },
                  "429": {
                    "$ref": "#/components/responses/Throttled"
                  },
                  "503": {
                    "$ref": "#/components/responses/Unavailable"
                  }
                }
              }
            },
            "/v1/pools": {
              "get": {
                "operationId": "listPools",
                "tags": [
                  "pools"
                ],
                "summary": "List all pools",
                "responses": {
                  "200": {
                    "description": "All pools.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "$ref": "#/components/schemas/PoolList"
                        }
                      }
                    }
                  },
                  "500": {
                    "$ref": "#/components/responses/Failed"
                  },
                  "503": {
                    "$ref": "#/components/responses/Unavailable"
                  }
                }
              },
              "post": {
                "operationId": "createPool",
                "tags": [
                  "pools"
                ],
                "summary": "Create a pool",
                "requestBody": {
                  "required": true,
                  "content": {
                    "application/json": {
                      "schema": {
                        "$ref": "#/components/schemas/PoolCreation"
                      },
                      "examples": {
                        "pool": {
                          "value": {
                            "name": "emails.fifo",
                            "shards": 8
                          }
                        }
                      }
                    }
                  }
                },
                "responses": {
                  "201": {
                    "description": "The pool was made.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "$ref": "#/components/schemas/Pool"
                        }
                      }
                    }
                  },
                  "200": {
                    "description": "The pool exists alike.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "$ref": "#/components/schemas/Pool"
                        }
                      }
                    }
                  },
                  "409": {
                    "$ref": "#/components/responses/Conflict"
                  },
                  "400": {
                    "$ref": "#/components/responses/BadRequest"
                  },
                  "413": {
                    "$ref": "#/components/responses/TooLarge"
                  },
                  "415": {
                    "$ref": "#/components/responses/UnsupportedMediaType"
                  },
                  "500": {
                    "$ref": "#/components/responses/Failed"
                  },
                  "503": {
                    "$ref": "#/components/responses/Unavailable"
                  }
                }
              }
            },
            "/v1/pools/{pool}": {
              "parameters": [
                {
                  "$ref": "#/components/parameters/pool"
                }
              ],
              "delete": {
                "operationId": "deletePool",
                "tags": [
                  "pools"
                ],
                "summary": "Delete a pool and every message in it",
                "responses": {
                  "204": {
                    "description": "The pool is gone."
                  },
                  "404": {
                    "$ref": "#/components/responses/NoSuchPool"
                  },
                  "409": {
                    "description": "Other pools name it as their dead-letter queue.",
                    "content": {
                      "application/problem+json": {
                        "schema": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  },
                  "500": {
                    "$ref": "#/components/responses/Failed"
                  },
                  "503": {
                    "$ref": "#/components/responses/Unavailable"
                  }
                }
              },
              "get": {
                "operationId": "showPool",
                "tags": [
                  "pools"
                ],
                "summary": "Show a pool and its shards",
                "responses": {
                  "200": {
                    "description": "The pool.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "$ref": "#/components/schemas/Pool"
                        }
                      }
                    }
                  },
                  "404": {
                    "$ref": "#/components/responses/NoSuchPool"
                  },
                  "500": {
                    "$ref": "#/components/responses/Failed"
                  },
                  "503": {
                    "$ref": "#/components/responses/Unavailable"
                  }
                }
              }
            },
            "/v1/pools/{pool}/leases": {
              "parameters": [
                {
                  "$ref": "#/components/parameters/pool"
                }
              ],
              "get": {
                "operationId": "listLeases",
                "tags": [
                  "leases"
                ],
                "summary": "Show which worker has which shard",
                "responses": {
                  "200": {
                    "description": "Heartbeats and leases.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "$ref": "#/components/schemas/Leases"
                        }
                      }
                    }
                  },
                  "404": {
                    "$ref": "#/components/responses/NoSuchPool"
                  },
                  "500": {
                    "$ref": "#/components/responses/Failed"
                  },
                  "503": {
                    "$ref": "#/components/responses/Unavailable"
                  }
                }
              }
            },
            "/v1/pools/{pool}/leases/{shard}": {
              "parameters": [
                {
                  "$ref": "#/components/parameters/pool"
                },
                {
                  "name": "shard",
                  "in": "path",
                  "required": true,
                  "description": "The shard's index.",
                  "schema": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": 9999
                  }
                }
              ],
              "put": {
                "operationId": "writeLease",
                "tags": [
                  "leases"
                ],
                "summary": "Write a lease, if it still has the version that the request was made from",
                "requestBody": {
                  "required": true,
                  "content": {
                    "application/json": {
                      "schema": {
                        "$ref": "#/components/schemas/LeaseWrite"
                      }
                    }
                  }
                },
                "responses": {
                  "200": {
                    "description": "The lease as it is stored now.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "$ref": "#/components/schemas/Lease"
                        }
                      }
                    }
                  },
                  "400": {
                    "$ref": "#/components/responses/BadRequest"
                  },
                  "404": {
                    "$ref": "#/components/responses/NoSuchPool"
                  },
                  "409": {
                    "description": "Another worker was first: what is stored is not what the request was made from.",
                    "content": {
                      "application/problem+json": {
                        "schema": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  },
                  "413": {
                    "$ref": "#/components/responses/TooLarge"
                  },
                  "500": {
                    "$ref": "#/components/responses/Failed"
                  },
                  "503": {
                    "$ref": "#/components/responses/Unavailable"
                  }
                }
              }
            },
            "/v1/pools/{pool}/workers/{worker}": {
              "parameters": [
                {
                  "$ref": "#/components/parameters/pool"
                },
                {
                  "name": "worker",
                  "in": "path",
                  "required": true,
                  "description": "One life of a worker: never used again after its heartbeat was removed.",
                  "schema": {
                    "type": "string",
                    "pattern": "^[A-Za-z0-9._-]{1,80}$"
                  }
                }
              ],
              "put": {
                "operationId": "renewHeartbeat",
                "tags": [
                  "leases"
                ],
                "summary": "Store a worker's next heartbeat",
                "requestBody": {
                  "required": true,
                  "content": {
                    "application/json": {
                      "schema": {
                        "$ref": "#/components/schemas/Heartbeat"
                      }
                    }
                  }
                },
                "responses": {
                  "204": {
                    "description": "The heartbeat is stored."
                  },
                  "400": {
                    "$ref": "#/components/responses/BadRequest"
                  },
                  "404": {
                    "$ref": "#/components/responses/NoSuchPool"
                  },
                  "409": {
                    "description": "The heartbeat was removed meanwhile: the worker owns nothing any more.",
                    "content": {
                      "application/problem+json": {
                        "schema": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  },
                  "413": {
                    "$ref": "#/components/responses/TooLarge"
                  },
                  "500": {
                    "$ref": "#/components/responses/Failed"
                  },
                  "503": {
                    "$ref": "#/components/responses/Unavailable"
                  }
                }
              },
              "delete": {
                "operationId": "removeHeartbeat",
                "tags": [
                  "leases"
                ],
                "summary": "Remove a heartbeat that stands still",
                "parameters": [
                  {
                    "name": "beat",
                    "in": "query",
                    "required": true,
                    "description": "The beat that was seen.",
                    "schema": {
                      "type": "integer",
                      "minimum": 1
                    }
                  }
                ],
                "responses": {
                  "204": {
                    "description": "There is no such heartbeat any more."
                  },
                  "400": {
                    "$ref": "#/components/responses/BadRequest"
                  },
                  "404": {
                    "$ref": "#/components/responses/NoSuchPool"
                  },
                  "409": {
                    "description": "The heartbeat went on.",
                    "content": {
                      "application/problem+json": {
                        "schema": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  },
                  "500": {
                    "$ref": "#/components/responses/Failed"
                  },
                  "503": {
                    "$ref": "#/components/responses/Unavailable"
                  }
                }
              }
            },
            "/v1/pools/{pool}/dead-letters": {
              "parameters": [
                {
                  "$ref": "#/components/parameters/pool"
                }
              ],
              "get": {
                "operationId": "listDeadLetters",
                "tags": [
                  "dead letters"
                ],
                "summary": "List dead letters without their bodies",
                "description": "Of the pool's dead-letter queue; {pool} may also be that queue itself. Shard after shard, the oldest first. Listing receives nothing: no receive count changes and no message is hidden. A page may have fewer than limit, because they are large; there are more as long as next is there.",
                "parameters": [
                  {
                    "name": "limit",
                    "in": "query",
                    "required": false,
                    "description": "Dead letters of one answer. Another value is refused with 400.",
                    "schema": {
                      "type": "integer",
                      "minimum": 1,
                      "maximum": 500,
                      "default": 50
                    }
                  },
                  {
                    "name": "after",
                    "in": "query",
                    "required": false,
                    "description": "The next of the answer before.",
                    "schema": {
                      "type": "string",
                      "format": "uuid"
                    }
                  }
                ],
                "responses": {
                  "200": {
                    "description": "A page of dead letters.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "$ref": "#/components/schemas/DeadLetters"
                        }
                      }
                    }
                  },
                  "404": {
                    "description": "There is no such pool, no dead-letter queue, or no such dead letter.",
                    "content": {
                      "application/problem+json": {
                        "schema": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  },
                  "501": {
                    "description": "not-browsable: the queue is in SQS, where looking is receiving; the detail names what to do instead.",
                    "content": {
                      "application/problem+json": {
                        "schema": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  },
                  "503": {
                    "$ref": "#/components/responses/Unavailable"
                  },
                  "default": {
                    "description": "Another failure.",
                    "content": {
                      "application/problem+json": {
                        "schema": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  }
                }
              }
            },
            "/v1/pools/{pool}/dead-letters/redrive": {
              "parameters": [
                {
                  "$ref": "#/components/parameters/pool"
                }
              ],
              "get": {
                "operationId": "redriveProgress",
                "tags": [
                  "dead letters"
                ],
                "summary": "Tell how far the latest redrive is",
                "responses": {
                  "200": {
                    "description": "Where it stands.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "$ref": "#/components/schemas/Redrive"
                        }
                      }
                    }
                  },
                  "404": {
                    "description": "There is no such pool, no dead-letter queue, or no redrive was started since the server was.",
                    "content": {
                      "application/problem+json": {
                        "schema": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  }
                }
              },
              "post": {
                "operationId": "startRedrive",
                "tags": [
                  "dead letters"
                ],
                "summary": "Send dead letters back to the pools that they came from",
                "description": "All of the dead-letter queue, or those that ids names. They enter at the end of their group, in their order; ten at most are sent together, and what others send to the group meanwhile may come between two such tens. A message that is not named stays, and holds up none that is, also where it lies before it in their group. A named message that is gone or that a receiver has is skipped, and so are the named ones behind it in its group. Once a message could not be stored, none behind it is sent, and the redrive fails. Redriven messages are new ones: they have new ids, and the reason stays with the dead letter that they were. After a crash the redrive does not go on by itself; started again within five minutes it doubles nothing.",
                "requestBody": {
                  "required": true,
                  "content": {
                    "application/json": {
                      "schema": {
                        "$ref": "#/components/schemas/RedriveRequest"
                      },
                      "examples": {
                        "all": {
                          "value": {
                            "ratePerSecond": 50
                          }
                        }
                      }
                    }
                  }
                },
                "responses": {
                  "202": {
                    "description": "The redrive is under way.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "$ref": "#/components/schemas/Redrive"
                        }
                      }
                    }
                  },
                  "400": {
                    "$ref": "#/components/responses/BadRequest"
                  },
                  "404": {
                    "description": "There is no such pool, no dead-letter queue, or no such dead letter.",
                    "content": {
                      "application/problem+json": {
                        "schema": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  },
                  "409": {
                    "description": "redrive-runs: a redrive of this queue is under way.",
                    "content": {
                      "application/problem+json": {
                        "schema": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  },
                  "413": {
                    "$ref": "#/components/responses/TooLarge"
                  },
                  "415": {
                    "$ref": "#/components/responses/UnsupportedMediaType"
                  },
                  "501": {
                    "description": "not-browsable: the queue is in SQS, where looking is receiving; the detail names what to do instead.",
                    "content": {
                      "application/problem+json": {
                        "schema": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  },
                  "503": {
                    "$ref": "#/components/responses/Unavailable"
                  }
                }
              },
              "delete": {
                "operationId": "cancelRedrive",
                "tags": [
                  "dead letters"
                ],
                "summary": "End the redrive after what is under way",
                "description": "What was moved stays moved.",
                "responses": {
                  "202": {
                    "description": "Where it stands.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "$ref": "#/components/schemas/Redrive"
                        }
                      }
                    }
                  },
                  "404": {
                    "description": "There is no such pool, no dead-letter queue, or no redrive was started since the server was.",
                    "content": {
                      "application/problem+json": {
                        "schema": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  }
                }
              }
            },
            "/v1/pools/{pool}/dead-letters/{id}": {
              "parameters": [
                {
                  "$ref": "#/components/parameters/pool"
                },
                {
                  "name": "id",
                  "in": "path",
                  "required": true,
                  "description": "The id of a dead letter.",
                  "schema": {
                    "type": "string",
                    "format": "uuid"
                  }
                }
              ],
              "get": {
                "operationId": "showDeadLetter",
                "tags": [
                  "dead letters"
                ],
                "summary": "Show a dead letter",
                "description": "Its body and the values of its attributes only with body=true. A body in a body store is shown as the pointer that the queue holds.",
                "parameters": [
                  {
                    "name": "body",
                    "in": "query",
                    "required": false,
                    "description": "Whether the body is wanted.",
                    "schema": {
                      "type": "boolean",
                      "default": false
                    }
                  }
                ],
                "responses": {
                  "200": {
                    "description": "The dead letter.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "$ref": "#/components/schemas/DeadLetter"
                        }
                      }
                    }
                  },
                  "400": {
                    "$ref": "#/components/responses/BadRequest"
                  },
                  "404": {
                    "description": "There is no such pool, no dead-letter queue, or no such dead letter.",
                    "content": {
                      "application/problem+json": {
                        "schema": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  },
                  "501": {
                    "description": "not-browsable: the queue is in SQS, where looking is receiving; the detail names what to do instead.",
                    "content": {
                      "application/problem+json": {
                        "schema": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  },
                  "503": {
                    "$ref": "#/components/responses/Unavailable"
                  }
                }
              },
              "delete": {
                "operationId": "deleteDeadLetter",
                "tags": [
                  "dead letters"
                ],
                "summary": "Delete a dead letter",
                "responses": {
                  "204": {
                    "description": "It is deleted."
                  },
                  "400": {
                    "$ref": "#/components/responses/BadRequest"
                  },
                  "404": {
                    "description": "There is no such pool, no dead-letter queue, or no such dead letter.",
                    "content": {
                      "application/problem+json": {
                        "schema": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  },
                  "409": {
                    "description": "dead-letter-held: a receiver has it.",
                    "content": {
                      "application/problem+json": {
                        "schema": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  },
                  "429": {
                    "$ref": "#/components/responses/Throttled"
                  },
                  "500": {
                    "$ref": "#/components/responses/Failed"
                  },
                  "501": {
                    "description": "not-browsable: the queue is in SQS, where looking is receiving; the detail names what to do instead.",
                    "content": {
                      "application/problem+json": {
                        "schema": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  },
                  "503": {
                    "$ref": "#/components/responses/Unavailable"
                  }
                }
              }
            },
            "/v1/pools/{pool}/purge": {
              "parameters": [
                {
                  "$ref": "#/components/parameters/pool"
                }
              ],
              "post": {
                "operationId": "purgePool",
                "tags": [
                  "pools"
                ],
                "summary": "Remove every message of a pool",
                "responses": {
                  "200": {
                    "description": "The messages are removed.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "$ref": "#/components/schemas/Purged"
                        }
                      }
                    }
                  },
                  "404": {
                    "$ref": "#/components/responses/NoSuchPool"
                  },
                  "500": {
                    "$ref": "#/components/responses/Failed"
                  },
                  "503": {
                    "$ref": "#/components/responses/Unavailable"
                  }
                }
              }
            },
            "/healthz": {
              "get": {
                "operationId": "health",
                "tags": [
                  "operation"
                ],
                "summary": "Whether the process lives",
                "responses": {
                  "200": {
                    "description": "It does.",
                    "content": {
                      "text/plain": {
                        "schema": {
                          "type": "string"
                        }
                      }
                    }
                  }
                }
              }
            },
            "/readyz": {
              "get": {
                "operationId": "readiness",
                "tags": [
                  "operation"
                ],
                "summary": "Whether requests are taken",
                "responses": {
                  "200": {
                    "description": "They are.",
                    "content": {
                      "text/plain": {
                        "schema": {
                          "type": "string"
                        }
                      }
                    }
                  },
                  "503": {
                    "$ref": "#/components/responses/Unavailable"
                  }
                }
              }
            },
            "/metrics": {
              "get": {
                "operationId": "metrics",
                "tags": [
                  "operation"
                ],
                "summary": "Metrics as Prometheus text",
                "responses": {
                  "200": {
                    "description": "The metrics.",
                    "content": {
                      "text/plain": {
                        "schema": {
                          "type": "string"
                        }
                      }
                    }
                  }
                }
              }
            },
            "/openapi.json": {
              "get": {
                "operationId": "openAPIDocument",
                "tags": [
                  "operation"
                ],
                "summary": "This document",
                "responses": {
                  "200": {
                    "description": "This document.",
                    "content": {
                      "application/json": {
                        "schema": {
                          "type": "object"
                        }
                      }
                    }
                  }
                }
              }
            },
            "/": {
              "get": {
                "operationId": "console",
                "tags": [
                  "operation"
                ],
                "summary": "The console page",
                "responses": {
                  "200": {
                    "description": "A page that shows pools and shards.",
                    "content": {
                      "text/html": {
                        "schema": {
                          "type": "string"
                        }
                      }
                    }
                  }
                }
              },
              "post": {
                "operationId": "sqs",
                "tags": [
                  "sqs"
                ],
                "summary": "The SQS protocol",
                "description": "AWS JSON 1.0: the header X-Amz-Target is AmazonSQS.ACTION, the body the action's parameters. Any AWS SDK or the AWS CLI of 2024 or later reaches the pool as the queue of its name, its shards as queues NAME-0000.fifo and on, and its dead-letter queue as NAME-dlq.fifo. Errors have the shapes of SQS.",
                "parameters": [
                  {
                    "name": "X-Amz-Target",
                    "in": "header",
                    "required": true,
                    "description": "The action, for AWS JSON 1.0.",
                    "schema": {
                      "type": "string",
                      "pattern": "^AmazonSQS\\.[A-Za-z]+$"
                    }
                  }
                ],
                "requestBody": {
                  "required": true,
                  "content": {
                    "application/x-amz-json-1.0": {
                      "schema": {
                        "type": "object"
                      },
                      "examples": {
                        "send": {
                          "value": {
                            "QueueUrl": "http://127.0.0.1:9324/000000000000/emails.fifo",
                            "MessageBody": "hello",
                            "MessageGroupId": "customer-1",
                            "MessageDeduplicationId": "1"
                          }
                        }
                      }
                    }
                  }
                },
                "responses": {
                  "200": {
                    "description": "The action's answer.",
                    "content": {
                      "application/x-amz-json-1.0": {
                        "schema": {
                          "type": "object"
                        }
                      }
                    }
                  },
                  "400": {
                    "description": "The action's error, RequestThrottled among them.",
                    "content": {
                      "application/x-amz-json-1.0": {
                        "schema": {
                          "$ref": "#/components/schemas/SQSError"
                        }
                      }
                    }
                  },
                  "503": {
                    "description": "ServiceUnavailable: the server stops or its disk fails.",
                    "headers": {
                      "Retry-After": {
                        "$ref": "#/components/headers/RetryAfter"
                      }
                    },
                    "content": {
                      "application/x-amz-json-1.0": {
                        "schema": {
                          "$ref": "#/components/schemas/SQSError"
                        }
                      }
                    }
                  },
                  "403": {
                    "description": "RequestThrottled, PurgeQueueInProgress.",
                    "content": {
                      "application/x-amz-json-1.0": {
                        "schema": {
                          "$ref": "#/components/schemas/SQSError"
                        }
                      }
                    }
                  },
                  "404": {
                    "description": "Without the header: nothing is here. ResourceNotFoundException of redrives.",
                    "content": {
                      "application/x-amz-json-1.0": {
                        "schema": {
                          "$ref": "#/components/schemas/SQSError"
                        }
                      }
                    }
                  },
                  "413": {
                    "description": "The request's body is too large.",
                    "content": {
                      "application/x-amz-json-1.0": {
                        "schema": {
                          "$ref": "#/components/schemas/SQSError"
                        }
                      }
                    }
                  }
                }
              }
            }
          },
          "components": {
            "parameters": {
              "idempotencyKey": {
                "name": "Idempotency-Key",
                "in": "header",
                "required": false,
                "description": "Stands for one request of the pool, byte for byte; of 1 to 255 printable ASCII characters, as they are or as a string in quotes (RFC 9651). The same request gets the first answer again, with Idempotent-Replayed: true; while it is under way, 409. Another request with the key is refused with 422. A request that failed is not replayed: the key is free again, but where the message may be stored in spite of the failure, for the same request only. An answer is remembered, on stable storage, for server.idempotency-window-seconds (86400 unless set, 300 at least); a key costs about 400 bytes, and beyond server.idempotency-bytes-max (134217728 unless set) the oldest are forgotten early. Each server has keys of its own. The key is also the message's deduplication id unless the body has one (its SHA-256 in hexadecimal when it is longer than 128 characters or has spaces), so that a repetition of the same group within five minutes is a duplicate even where the key is not known. Not allowed with application/x-ndjson, nor with an array.",
                "schema": {
                  "type": "string",
                  "minLength": 1,
                  "maxLength": 512
                }
              },
              "pool": {
                "name": "pool",
                "in": "path",
                "required": true,
                "description": "The pool's name.",
                "schema": {
                  "type": "string",
                  "pattern": "^[A-Za-z0-9_-]{1,75}\\.fifo$",
                  "description": "The pool's name.",
                  "examples": [
                    "emails.fifo"
                  ]
                }
              }
            },
            "headers": {
              "IdempotentReplayed": {
                "description": "true: this is the answer that the first request with the key got.",
                "schema": {
                  "type": "string",
                  "enum": [
                    "true"
                  ]
                }
              },
              "RetryAfter": {
                "description": "Seconds after which a retry makes sense.",
                "schema": {
                  "type": "integer",
                  "minimum": 0
                }
              }
            },
            "responses": {
              "BadRequest": {
                "description": "A field is missing or wrong.",
                "content": {
                  "application/problem+json": {
                    "schema": {
                      "$ref": "#/components/schemas/Problem"
                    }
                  }
                }
              },
              "NoSuchPool": {
                "description": "There is no such pool.",
                "content": {
                  "application/problem+json": {
                    "schema": {
                      "$ref": "#/components/schemas/Problem"
                    }
                  }
                }
              },
              "Conflict": {
                "description": "A pool of that name exists with other shards or quota.",
                "content": {
                  "application/problem+json": {
                    "schema": {
                      "$ref": "#/components/schemas/Problem"
                    }
                  }
                }
              },
              "KeyInUse": {
                "description": "idempotency-key-in-use: the same request with this Idempotency-Key is under way.",
                "headers": {
                  "Retry-After": {
                    "$ref": "#/components/headers/RetryAfter"
                  }
                },
                "content": {
                  "application/problem+json": {
                    "schema": {
                      "$ref": "#/components/schemas/Problem"
                    }
                  }
                }
              },
              "KeyReused": {
                "description": "idempotency-key-reused: the Idempotency-Key came with another request before.",
                "content": {
                  "application/problem+json": {
                    "schema": {
                      "$ref": "#/components/schemas/Problem"
                    }
                  }
                }
              },
              "TooLarge": {
                "description": "The request or message is larger than allowed.",
                "content": {
                  "application/problem+json": {
                    "schema": {
                      "$ref": "#/components/schemas/Problem"
                    }
                  }
                }
              },
              "UnsupportedMediaType": {
                "description": "The content type is not one of those described.",
                "content": {
                  "application/problem+json": {
                    "schema": {
                      "$ref": "#/components/schemas/Problem"
                    }
                  }
                }
              },
              "Failed": {
                "description": "The server failed; whether the request took effect is unknown.",
                "content": {
                  "application/problem+json": {
                    "schema": {
                      "$ref": "#/components/schemas/Problem"
                    }
                  }
                }
              },
              "Throttled": {
                "description": "A quota or the bound of waiting messages is reached.",
                "headers": {
                  "Retry-After": {
                    "$ref": "#/components/headers/RetryAfter"
                  }
                },
                "content": {
                  "application/problem+json": {
                    "schema": {
                      "$ref": "#/components/schemas/Problem"
                    }
                  }
                }
              },
              "Unavailable": {
                "description": "The server starts, stops, or its disk is full.",
                "headers": {
                  "Retry-After": {
                    "$ref": "#/components/headers/RetryAfter"
                  }
                },
                "content": {
                  "application/problem+json": {
                    "schema": {
                      "$ref": "#/components/schemas/Problem"
                    }
                  }
                }
              }
            },
            "schemas": {
              "Message": {
                "type": "object",
                "required": [
                  "group",
                  "body"
                ],
                "additionalProperties": false,
                "properties": {
                  "group": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 128,
                    "description": "Message group: letters, digits and punctuation of ASCII. Messages of a group are delivered one after another."
                  },
                  "body": {
                    "type": "string",
                    "minLength": 1,
                    "description": "The message, in UTF-8; with its attributes at most 1048576 bytes, or, of pools with a place for large bodies, as many as bodies.limit-bytes (41943040)."
                  },
                  "deduplicationId": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 128,
                    "description": "Accepted once within five minutes; made by the server when missing."
                  },
                  "attributes": {
                    "type": "object",
                    "maxProperties": 10,
                    "additionalProperties": {
                      "$ref": "#/components/schemas/AttributeValue"
                    }
                  },
                  "delaySeconds": {
                    "type": "integer",
                    "const": 0,
                    "description": "A FIFO queue has no delay of single messages."
                  }
                }
              },
              "AttributeValue": {
                "oneOf": [
                  {
                    "type": "string"
                  },
                  {
                    "type": "number"
                  },
                  {
                    "type": "object",
                    "required": [
                      "type",
                      "value"
                    ],
                    "additionalProperties": false,
                    "properties": {
                      "type": {
                        "type": "string",
                        "pattern": "^(Binary|String|Number)(\\..+)?$"
                      },
                      "value": {
                        "type": "string",
                        "description": "The text; of a Binary its base64."
                      }
                    }
                  }
                ]
              },
              "Sent": {
                "type": "object",
                "required": [
                  "id",
                  "shard",
                  "sequenceNumber",
                  "duplicate"
                ],
                "properties": {
                  "id": {
                    "type": "string",
                    "format": "uuid"
                  },
                  "shard": {
                    "type": "string",
                    "examples": [
                      "emails-0003.fifo"
                    ]
                  },
                  "sequenceNumber": {
                    "type": "string",
                    "pattern": "^[0-9]{20}$",
                    "description": "Grows along the group."
                  },
                  "duplicate": {
                    "type": "boolean",
                    "description": "Whether the deduplication id was known: the message is the earlier one."
                  }
                }
              },
              "LineResult": {
                "oneOf": [
                  {
                    "$ref": "#/components/schemas/LineSent"
                  },
                  {
                    "$ref": "#/components/schemas/LineFailed"
                  }
                ]
              },
              "LineSent": {
                "allOf": [
                  {
                    "$ref": "#/components/schemas/Sent"
                  },
                  {
                    "type": "object",
                    "required": [
                      "line"
                    ],
                    "properties": {
                      "line": {
                        "type": "integer",
                        "description": "Number of the line, from 1, blank lines counted.",
                        "minimum": 1
                      }
                    }
                  }
                ]
              },
              "LineFailed": {
                "type": "object",
                "required": [
                  "line",
                  "error"
                ],
                "properties": {
                  "line": {
                    "type": "integer",
                    "description": "Number of the line, from 1, blank lines counted.",
                    "minimum": 1
                  },
                  "error": {
                    "$ref": "#/components/schemas/Problem"
                  }
                }
              },
              "Addresses": {
                "oneOf": [
                  {
                    "type": "string"
                  },
                  {
                    "type": "array",
                    "items": {
                      "type": "string"
                    }
                  }
                ],
                "description": "An address such as name@example.org or Name <name@example.org>, or a list of them."
              },
              "EmailResults": {
                "type": "object",
                "required": [
                  "results"
                ],
                "properties": {
                  "results": {
                    "type": "array",
                    "items": {
                      "oneOf": [
                        {
                          "$ref": "#/components/schemas/Sent"
                        },
                        {
                          "type": "object",
                          "required": [
                            "error"
                          ],
                          "properties": {
                            "error": {
                              "$ref": "#/components/schemas/Problem"
                            }
                          }
                        }
                      ]
                    }
                  }
                }
              },
              "Email": {
                "type": "object",
                "description": "An email has at least one recipient in to, cc or bcc, and at most 50.",
                "required": [
                  "from"
                ],
                "additionalProperties": false,
                "properties": {
                  "from": {
                    "type": "string"
                  },
                  "to": {
                    "$ref": "#/components/schemas/Addresses"
                  },
                  "cc": {
                    "$ref": "#/components/schemas/Addresses"
                  },
                  "bcc": {
                    "$ref": "#/components/schemas/Addresses"
                  },
                  "replyTo": {
                    "$ref": "#/components/schemas/Addresses"
                  },
                  "subject": {
                    "type": "string"
                  },
                  "text": {
                    "type": "string"
                  },
                  "html": {
                    "type": "string"
                  },
                  "headers": {
                    "type": "object",
                    "additionalProperties": {
                      "type": "string"
                    },
                    "description": "Further headers; line breaks are refused."
                  },
                  "attachments": {
                    "type": "array",
                    "items": {
                      "$ref": "#/components/schemas/Attachment"
                    }
                  },
                  "group": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 128,
                    "description": "Message group; a hash of the first recipient when missing."
                  },
                  "deduplicationId": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 128
                  }
                }
              },
              "Attachment": {
                "type": "object",
                "required": [
                  "filename",
                  "content"
                ],
                "properties": {
                  "filename": {
                    "type": "string"
                  },
                  "contentType": {
                    "type": "string"
                  },
                  "content": {
                    "type": "string",
                    "contentEncoding": "base64"
                  },
                  "contentId": {
                    "type": "string"
                  }
                }
              },
              "PoolCreation": {
                "type": "object",
                "required": [
                  "name",
                  "shards"
                ],
                "additionalProperties": false,
                "properties": {
                  "name": {
                    "type": "string",
                    "pattern": "^[A-Za-z0-9_-]{1,75}\\.fifo$",
                    "description": "The pool's name.",
                    "examples": [
                      "emails.fifo"
                    ]
                  },
                  "shards": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 256
                  },
                  "quota": {
                    "type": [
                      "integer",
                      "null"
                    ],
                    "minimum": 1,
                    "maximum": 1000000,
                    "description": "Requests per second and API action of each shard; null or missing: no quota."
                  }
                }
              },
              "PoolList": {
                "type": "object",
                "required": [
                  "pools"
                ],
                "properties": {
                  "pools": {
                    "type": "array",
                    "items": {
                      "$ref": "#/components/schemas/PoolSummary"
                    }
                  }
                }
              },
              "PoolSummary": {
                "type": "object",
                "required": [
                  "name",
                  "epoch",
                  "shards",
                  "backlog",
                  "inFlight",
                  "delayed",
                  "oldestAgeSeconds",
                  "deadLetterQueue"
                ],
                "properties": {
                  "name": {
                    "type": "string",
                    "pattern": "^[A-Za-z0-9_-]{1,75}\\.fifo$",
                    "description": "The pool's name.",
                    "examples": [
                      "emails.fifo"
                    ]
                  },
                  "epoch": {
                    "type": "integer",
                    "description": "Version of the topology.",
                    "minimum": 1
                  },
                  "shards": {
                    "type": "integer",
                    "description": "Number of shards.",
                    "minimum": 1,
                    "maximum": 256
                  },
                  "backlog": {
                    "type": "integer",
                    "description": "Undeleted messages that are neither in flight nor delayed.",
                    "minimum": 0
                  },
                  "inFlight": {
                    "type": "integer",
                    "description": "Messages received and not deleted, whose visibility timeout runs.",
                    "minimum": 0
                  },
                  "delayed": {
                    "type": "integer",
                    "description": "Messages not visible yet for the first time.",
                    "minimum": 0
                  },
                  "oldestAgeSeconds": {
                    "type": [
                      "number",
                      "null"
                    ],
                    "minimum": 0,
                    "description": "Age of the oldest undeleted message; 0 when there is none. Of queues of SQS the greatest age of what was received through this server in the last minute, null when nothing was."
                  },
                  "deadLetterQueue": {
                    "type": [
                      "string",
                      "null"
                    ]
                  }
                }
              },
              "Pool": {
                "type": "object",
                "required": [
                  "name",
                  "epoch",
                  "deadLetterQueue",
                  "backlog",
                  "inFlight",
                  "delayed",
                  "oldestAgeSeconds",
                  "quota",
                  "shards"
                ],
                "properties": {
                  "name": {
                    "type": "string",
                    "pattern": "^[A-Za-z0-9_-]{1,75}\\.fifo$",
                    "description": "The pool's name.",
                    "examples": [
                      "emails.fifo"
                    ]
                  },
                  "epoch": {
                    "type": "integer",
                    "description": "Version of the topology.",
                    "minimum": 1
                  },
                  "deadLetterQueue": {
                    "type": [
                      "string",
                      "null"
                    ]
                  },
                  "backlog": {
                    "type": "integer",
                    "description": "Undeleted messages that are neither in flight nor delayed.",
                    "minimum": 0
                  },
                  "inFlight": {
                    "type": "integer",
                    "description": "Messages received and not deleted, whose visibility timeout runs.",
                    "minimum": 0
                  },
                  "delayed": {
                    "type": "integer",
                    "description": "Messages not visible yet for the first time.",
                    "minimum": 0
                  },
                  "oldestAgeSeconds": {
                    "type": [
                      "number",
                      "null"
                    ],
                    "minimum": 0,
                    "description": "Age of the oldest undeleted message; 0 when there is none. Of queues of SQS the greatest age of what was received through this server in the last minute, null when nothing was."
                  },
                  "quota": {
                    "type": [
                      "integer",
                      "null"
                    ]
                  },
                  "shards": {
                    "type": "array",
                    "items": {
                      "$ref": "#/components/schemas/Shard"
                    }
                  }
                }
              },
              "Shard": {
                "type": "object",
                "required": [
                  "name",
                  "index",
                  "slots",
                  "backlog",
                  "inFlight",
                  "delayed",
                  "oldestAgeSeconds",
                  "owner",
                  "leaseAgeSeconds",
                  "sentPerSecond",
                  "receivedPerSecond",
                  "deletedPerSecond"
                ],
                "properties": {
                  "name": {
                    "type": "string"
                  },
                  "index": {
                    "type": "integer",
                    "description": "Place in the pool, never given to another shard.",
                    "minimum": 0
                  },
                  "slots": {
                    "type": "integer",
                    "description": "Slots of the 16384 that the shard owns.",
                    "minimum": 0,
                    "maximum": 16384
                  },
                  "backlog": {
                    "type": "integer",
                    "description": "Undeleted messages that are neither in flight nor delayed.",
                    "minimum": 0
                  },
                  "inFlight": {
                    "type": "integer",
                    "description": "Messages received and not deleted, whose visibility timeout runs.",
                    "minimum": 0
                  },
                  "delayed": {
                    "type": "integer",
                    "description": "Messages not visible yet for the first time.",
                    "minimum": 0
                  },
                  "oldestAgeSeconds": {
                    "type": [
                      "number",
                      "null"
                    ],
                    "minimum": 0,
                    "description": "Age of the oldest undeleted message; 0 when there is none. Of queues of SQS the greatest age of what was received through this server in the last minute, null when nothing was."
                  },
                  "owner": {
                    "type": [
                      "string",
                      "null"
                    ],
                    "description": "The worker that has the shard's lease; null when none has, or nobody knows."
                  },
                  "leaseAgeSeconds": {
                    "type": [
                      "integer",
                      "null"
                    ],
                    "minimum": 0,
                    "description": "Since the owner got the shard."
                  },
                  "sentPerSecond": {
                    "type": [
                      "number",
                      "null"
                    ],
                    "minimum": 0,
                    "description": "Messages sent a second through this server, a mean over the last seconds; null until it is known."
                  },
                  "receivedPerSecond": {
                    "type": [
                      "number",
                      "null"
                    ],
                    "minimum": 0,
                    "description": "Messages received a second through this server, a mean over the last seconds; null until it is known."
                  },
                  "deletedPerSecond": {
                    "type": [
                      "number",
                      "null"
                    ],
                    "minimum": 0,
                    "description": "Messages deleted a second through this server, a mean over the last seconds; null until it is known."
                  }
                }
              },
              "Heartbeat": {
                "type": "object",
                "required": [
                  "beat",
                  "renewedAt"
                ],
                "additionalProperties": false,
                "properties": {
                  "beat": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "Counts from 1; each renewal is one more."
                  },
                  "renewedAt": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "Milliseconds since 1970 by the worker's clock; shown to people, compared with nothing."
                  },
                  "isLeaving": {
                    "type": "boolean",
                    "description": "It gives its shards up, and is to be given none."
                  }
                }
              },
              "LeaseWrite": {
                "type": "object",
                "required": [
                  "version",
                  "acquiredAt"
                ],
                "additionalProperties": false,
                "properties": {
                  "version": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "Writes of the lease so far; 0 if it was never stored."
                  },
                  "owner": {
                    "type": [
                      "string",
                      "null"
                    ],
                    "pattern": "^[A-Za-z0-9._-]{1,80}$",
                    "description": "The worker; null: given up, anybody may take it."
                  },
                  "next": {
                    "type": [
                      "string",
                      "null"
                    ],
                    "pattern": "^[A-Za-z0-9._-]{1,80}$",
                    "description": "To whom the owner gives the shard when it has finished or released what it holds."
                  },
                  "acquiredAt": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "Milliseconds since 1970 by the owner's clock; shown to people, compared with nothing."
                  }
                }
              },
              "Lease": {
                "type": "object",
                "required": [
                  "shard",
                  "owner",
                  "next",
                  "acquiredAt",
                  "version"
                ],
                "properties": {
                  "shard": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "The shard's index."
                  },
                  "owner": {
                    "type": [
                      "string",
                      "null"
                    ],
                    "pattern": "^[A-Za-z0-9._-]{1,80}$",
                    "description": "The worker; null: given up, anybody may take it."
                  },
                  "next": {
                    "type": [
                      "string",
                      "null"
                    ],
                    "pattern": "^[A-Za-z0-9._-]{1,80}$",
                    "description": "To whom the owner gives the shard when it has finished or released what it holds."
                  },
                  "acquiredAt": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "Milliseconds since 1970 by the owner's clock; shown to people, compared with nothing."
                  },
                  "version": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "Writes of the lease so far; 0 if it was never stored."
                  }
                }
              },
              "Leases": {
                "type": "object",
                "required": [
                  "workers",
                  "leases"
                ],
                "properties": {
                  "workers": {
                    "type": "array",
                    "items": {
                      "type": "object",
                      "required": [
                        "worker",
                        "beat",
                        "renewedAt",
                        "isLeaving"
                      ],
                      "properties": {
                        "worker": {
                          "type": "string"
                        },
                        "beat": {
                          "type": "integer",
                          "minimum": 1,
                          "description": "Counts from 1; each renewal is one more."
                        },
                        "renewedAt": {
                          "type": "integer",
                          "minimum": 0,
                          "description": "Milliseconds since 1970 by the worker's clock; shown to people, compared with nothing."
                        },
                        "isLeaving": {
                          "type": "boolean",
                          "description": "It gives its shards up, and is to be given none."
                        }
                      }
                    }
                  },
                  "leases": {
                    "type": "array",
                    "items": {
                      "$ref": "#/components/schemas/Lease"
                    }
                  }
                }
              },
              "DeadLetter": {
                "type": "object",
                "required": [
                  "id",
                  "group",
                  "shard",
                  "deadAt",
                  "reason",
                  "errorClass",
                  "pool",
                  "originalId",
                  "attempts",
                  "sizeBytes",
                  "inFlight"
                ],
                "properties": {
                  "id": {
                    "type": "string",
                    "format": "uuid"
                  },
                  "group": {
                    "type": "string"
                  },
                  "shard": {
                    "type": "string",
                    "description": "Of the dead-letter queue."
                  },
                  "deadAt": {
                    "type": "string",
                    "description": "RFC 3339: when it was given up."
                  },
                  "reason": {
                    "type": [
                      "string",
                      "null"
                    ],
                    "description": "attempts-exhausted, body-missing, permanent-failure or recipients-refused by a worker; received-too-often by a redrive policy; null if somebody else put it there."
                  },
                  "errorClass": {
                    "type": [
                      "string",
                      "null"
                    ],
                    "description": "What the last attempt failed with."
                  },
                  "pool": {
                    "type": [
                      "string",
                      "null"
                    ],
                    "description": "Where it came from, and where a redrive takes it."
                  },
                  "originalId": {
                    "type": [
                      "string",
                      "null"
                    ],
                    "description": "Its id in that pool."
                  },
                  "attempts": {
                    "type": [
                      "integer",
                      "null"
                    ],
                    "description": "Attempts, or receives, before it was given up."
                  },
                  "sizeBytes": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "Of the body."
                  },
                  "inFlight": {
                    "type": "boolean",
                    "description": "A receiver has it now."
                  },
                  "attributes": {
                    "type": "array",
                    "description": "Where one is shown.",
                    "items": {
                      "type": "object",
                      "required": [
                        "name",
                        "type",
                        "sizeBytes"
                      ],
                      "properties": {
                        "name": {
                          "type": "string"
                        },
                        "type": {
                          "type": "string"
                        },
                        "sizeBytes": {
                          "type": "integer"
                        },
                        "value": {
                          "type": "string",
                          "description": "With body=true, if it is text."
                        }
                      }
                    }
                  },
                  "body": {
                    "type": "string",
                    "description": "With body=true."
                  }
                }
              },
              "DeadLetters": {
                "type": "object",
                "required": [
                  "queue",
                  "deadLetters"
                ],
                "properties": {
                  "queue": {
                    "type": "string"
                  },
                  "deadLetters": {
                    "type": "array",
                    "items": {
                      "$ref": "#/components/schemas/DeadLetter"
                    }
                  },
                  "next": {
                    "type": "string",
                    "format": "uuid",
                    "description": "What after is to be for the next page; not there on the last one."
                  }
                }
              },
              "RedriveRequest": {
                "type": "object",
                "properties": {
                  "ids": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 1000,
                    "description": "Which; all unless set.",
                    "items": {
                      "type": "string",
                      "format": "uuid"
                    }
                  },
                  "ratePerSecond": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 500,
                    "description": "Messages a second, in steps of ten; as fast as it goes unless set."
                  }
                }
              },
              "Redrive": {
                "type": "object",
                "required": [
                  "handle",
                  "queue",
                  "status",
                  "moved",
                  "toMove",
                  "skipped",
                  "ratePerSecond",
                  "startedAt",
                  "failureReason"
                ],
                "properties": {
                  "handle": {
                    "type": "string",
                    "format": "uuid",
                    "description": "As ListMessageMoveTasks names it."
                  },
                  "queue": {
                    "type": "string"
                  },
                  "status": {
                    "type": "string",
                    "enum": [
                      "RUNNING",
                      "COMPLETED",
                      "CANCELLING",
                      "CANCELLED",
                      "FAILED"
                    ]
                  },
                  "moved": {
                    "type": "integer"
                  },
                  "toMove": {
                    "type": "integer",
                    "description": "When it began."
                  },
                  "skipped": {
                    "type": "integer",
                    "description": "Named ones that were gone or that a receiver had, and those behind them in their groups."
                  },
                  "ratePerSecond": {
                    "type": [
                      "integer",
                      "null"
                    ],
                    "description": "As asked for."
                  },
                  "startedAt": {
                    "type": "string"
                  },
                  "failureReason": {
                    "type": [
                      "string",
                      "null"
                    ],
                    "description": "Counts and codes only."
                  }
                }
              },
              "Purged": {
                "type": "object",
                "required": [
                  "purged"
                ],
                "properties": {
                  "purged": {
                    "type": "integer",
                    "description": "Messages removed.",
                    "minimum": 0
                  }
                }
              },
              "Problem": {
                "type": "object",
                "required": [
                  "type",
                  "title",
                  "status"
                ],
                "properties": {
                  "type": {
                    "type": "string"
                  },
                  "title": {
                    "type": "string"
                  },
                  "status": {
                    "type": "integer"
                  },
                  "detail": {
                    "type": "string"
                  },
                  "field": {
                    "type": "string",
                    "description": "The field that is wrong."
                  },
                  "errors": {
                    "type": "array",
                    "description": "Of an array sent with mode=strict: the first emails that are not valid, by their index from 0.",
                    "items": {
                      "type": "object",
                      "required": [
                        "index",
                        "error"
                      ],
                      "properties": {
                        "index": {
                          "type": "integer",
                          "minimum": 0
                        },
                        "error": {
                          "$ref": "#/components/schemas/Problem"
                        }
                      }
                    }
                  }
                }
              },
              "SQSError": {
                "type": "object",
                "required": [
                  "__type"
                ],
                "properties": {
                  "__type": {
                    "type": "string"
                  },
                  "message": {
                    "type": "string"
                  }
                }
              }
            }
          }
        }
        """#
}
