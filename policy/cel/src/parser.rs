//! From tokens to syntax: recursive descent over the grammar of the language, with a bound on nesting.
//!
//! Binary operators go by precedence: `?:`, `||`, `&&`, relations, `+ -`, `* / %`, prefix, members.

use std::ops::Range;

use crate::ast::{Element, Expr, Kind, Literal, Name, Operator};
use crate::lexer::{Spanned, Token, tokens};
use crate::limits::Limits;
use crate::problem::{Problem, ProblemKind};

/// Names that the language keeps for itself.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

pub(crate) fn parse(source: &str, limits: &Limits) -> Result<Expr, Problem> {
    if source.len() > limits.source_bytes {
        let end = (0..=limits.source_bytes).rev().find(|&at| source.is_char_boundary(at)).unwrap_or(0);
        let message = format!("the expression is longer than {} bytes", limits.source_bytes);
        return Err(Problem::new(ProblemKind::TooLarge, end..source.len(), message));
    }
    let tokens = tokens(source)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth_max: limits.nesting, entered: 0 };
    let expr = parser.expression()?;
    match &parser.next().token {
        Token::End => Ok(expr),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

struct Parser<'t> {
    /// The last one is `End`.
    tokens: &'t [Spanned],
    at: usize,
    depth_max: usize,
    /// Expressions that are being read around this place.
    entered: usize,
}

impl Parser<'_> {
    fn next(&self) -> &Spanned {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(&self.next().token, Token::Sign(found) if *found == sign)
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<usize, Problem> {
        let end = self.next().range.end;
        if self.take_sign(sign) { Ok(end) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> Problem {
        let next = self.next();
        let found =
            if next.token == Token::End { "the expression ends here" } else { "this does not belong here" };
        Problem::new(ProblemKind::Syntax, next.range.clone(), format!("{found}, expected {wanted}"))
    }

    fn too_deep(&self, range: Range<usize>) -> Problem {
        let message = format!("the expression is nested deeper than {} levels", self.depth_max);
        Problem::new(ProblemKind::TooLarge, range, message)
    }

    /// A node over its children, if that is not too deep.
    fn node(&self, range: Range<usize>, below: usize, kind: Kind) -> Result<Expr, Problem> {
        if below >= self.depth_max {
            return Err(self.too_deep(range));
        }
        Ok(Expr { range, depth: below + 1, kind })
    }

    fn expression(&mut self) -> Result<Expr, Problem> {
        if self.entered >= self.depth_max {
            return Err(self.too_deep(self.next().range.clone()));
        }
        self.entered += 1;
        let condition = self.chain("||")?;
        let expr = if self.take_sign("?") {
            let yes = self.chain("||")?;
            self.expect(":")?;
            let no = self.expression()?;
            let range = condition.range.start..no.range.end;
            let below = condition.depth.max(yes.depth).max(no.depth);
            let (condition, yes, no) = (Box::new(condition), Box::new(yes), Box::new(no));
            self.node(range, below, Kind::Conditional { condition, yes, no })?
        } else {
            condition
        };
        self.entered -= 1;
        Ok(expr)
    }

    /// Operands with `&&` or `||` between them.
    fn chain(&mut self, sign: &'static str) -> Result<Expr, Problem> {
        let or = sign == "||";
        let operand = |parser: &mut Self| if or { parser.chain("&&") } else { parser.binary(0) };
        let first = operand(self)?;
        if !self.is_sign(sign) {
            return Ok(first);
        }
        let mut operands = vec![first];
        while self.take_sign(sign) {
            operands.push(operand(self)?);
        }
        let range = operands[0].range.start..operands[operands.len() - 1].range.end;
        let below = operands.iter().map(|operand| operand.depth).max().unwrap_or(0);
        self.node(range, below, if or { Kind::Or(operands) } else { Kind::And(operands) })
    }

    /// The operator that stands here, with its level: 0 relations, 1 sums, 2 products.
    fn operator(&self) -> Option<(Operator, u8)> {
        Some(match &self.next().token {
            Token::Name(name) if name == "in" => (Operator::In, 0),
            Token::Sign(sign) => match *sign {
                "==" => (Operator::Equal, 0),
                "!=" => (Operator::NotEqual, 0),
                "<" => (Operator::Less, 0),
                "<=" => (Operator::LessEqual, 0),
                ">" => (Operator::Greater, 0),
                ">=" => (Operator::GreaterEqual, 0),
                "+" => (Operator::Add, 1),
                "-" => (Operator::Subtract, 1),
                "*" => (Operator::Multiply, 2),
                "/" => (Operator::Divide, 2),
                "%" => (Operator::Remainder, 2),
                _ => return None,
            },
            _ => return None,
        })
    }

    fn binary(&mut self, level: u8) -> Result<Expr, Problem> {
        let operand =
            |parser: &mut Self| if level == 2 { parser.prefixed() } else { parser.binary(level + 1) };
        let mut left = operand(self)?;
        while let Some((operator, found)) = self.operator()
            && found == level
        {
            self.at += 1;
            let right = operand(self)?;
            let (range, below) = (left.range.start..right.range.end, left.depth.max(right.depth));
            let kind = Kind::Binary { operator, left: Box::new(left), right: Box::new(right) };
            left = self.node(range, below, kind)?;
        }
        Ok(left)
    }

    /// `!` and `-`, any number of them.
    fn prefixed(&mut self) -> Result<Expr, Problem> {
        let first = self.at;
        while self.is_sign("!") || self.is_sign("-") {
            self.at += 1;
        }
        let mut outermost = self.at;
        let mut expr = if outermost > first
            && self.tokens[outermost - 1].token == Token::Sign("-")
            && let Token::Int(value) = self.next().token
        {
            // The smallest integer has no positive counterpart, so the sign belongs to the literal.
            outermost -= 1;
            let range = self.tokens[outermost].range.start..self.next().range.end;
            self.at += 1;
            let value = 0i64.checked_sub_unsigned(value).ok_or_else(|| integer_too_large(range.clone()))?;
            let literal = self.node(range, 0, Kind::Literal(Literal::Int(value)))?;
            self.members(literal)?
        } else {
            let primary = self.primary()?;
            self.members(primary)?
        };
        for sign in self.tokens[first..outermost].iter().rev() {
            let (range, below) = (sign.range.start..expr.range.end, expr.depth);
            let inner = Box::new(expr);
            let kind = if sign.token == Token::Sign("!") { Kind::Not(inner) } else { Kind::Negate(inner) };
            expr = self.node(range, below, kind)?;
        }
        Ok(expr)
    }

    fn members(&mut self, mut of: Expr) -> Result<Expr, Problem> {
        loop {
            let (start, below) = (of.range.start, of.depth);
            if self.take_sign(".") {
                let optional = self.take_sign("?");
                let field = self.field()?;
                if !optional && self.is_sign("(") {
                    let (arguments, end) = self.arguments()?;
                    let below = arguments.iter().map(|argument| argument.depth).fold(below, usize::max);
                    let kind = Kind::Call { target: Some(Box::new(of)), function: field, arguments };
                    of = self.node(start..end, below, kind)?;
                } else {
                    let end = field.range.end;
                    of = self.node(start..end, below, Kind::Select { of: Box::new(of), field, optional })?;
                }
            } else if self.take_sign("[") {
                let optional = self.take_sign("?");
                let index = self.expression()?;
                let end = self.expect("]")?;
                let below = below.max(index.depth);
                let kind = Kind::Index { of: Box::new(of), index: Box::new(index), optional };
                of = self.node(start..end, below, kind)?;
            } else if self.is_sign("{") && matches!(of.kind, Kind::Name(_) | Kind::Select { .. }) {
                return Err(unsupported(self.next().range.clone(), "messages cannot be made in a condition"));
            } else {
                return Ok(of);
            }
        }
    }

    fn field(&mut self) -> Result<Name, Problem> {
        let next = self.next();
        let (Token::Name(text) | Token::Quoted(text)) = &next.token else {
            return Err(self.unexpected("the name of a field or a function"));
        };
        let name = Name { text: text.clone(), range: next.range.clone() };
        self.at += 1;
        Ok(name)
    }

    fn arguments(&mut self) -> Result<(Vec<Expr>, usize), Problem> {
        self.expect("(")?;
        let mut arguments = Vec::new();
        while !self.is_sign(")") {
            arguments.push(self.expression()?);
            if !self.take_sign(",") {
                break;
            }
        }
        Ok((arguments, self.expect(")")?))
    }

    fn primary(&mut self) -> Result<Expr, Problem> {
        let Spanned { token, range } = self.next().clone();
        self.at += 1;
        let literal = match token {
            Token::Int(value) => {
                Literal::Int(i64::try_from(value).map_err(|_| integer_too_large(range.clone()))?)
            }
            Token::Double(value) => Literal::Double(value),
            Token::Text(text) => Literal::Text(text),
            Token::Bytes => {
                let problem = unsupported(range, "byte strings are not part of conditions");
                return Err(problem.with_help("write a string: data is seen as JSON only"));
            }
            Token::Unsigned => {
                let problem = unsupported(range, "unsigned integers are not part of conditions");
                return Err(problem.with_help("leave out the `u`: integers of JSON are `int`"));
            }
            Token::Name(name) => return self.named(name, range),
            Token::Sign("(") => {
                let mut inner = self.expression()?;
                inner.range = range.start..self.expect(")")?;
                return Ok(inner);
            }
            Token::Sign("[") => return self.list(range.start),
            Token::Sign("{") => return self.map(range.start),
            Token::End | Token::Quoted(_) | Token::Sign(_) => {
                self.at -= 1;
                return Err(self.unexpected("a value"));
            }
        };
        self.node(range, 0, Kind::Literal(literal))
    }

    fn named(&mut self, name: String, range: Range<usize>) -> Result<Expr, Problem> {
        let literal = match name.as_str() {
            "null" => Literal::Null,
            "true" => Literal::Bool(true),
            "false" => Literal::Bool(false),
            _ if name == "in" || RESERVED.contains(&name.as_str()) => {
                return Err(Problem::new(ProblemKind::Syntax, range, format!("`{name}` is a reserved word")));
            }
            _ if self.is_sign("(") => {
                let (arguments, end) = self.arguments()?;
                let below = arguments.iter().map(|argument| argument.depth).max().unwrap_or(0);
                let call = range.start..end;
                let function = Name { text: name, range };
                return self.node(call, below, Kind::Call { target: None, function, arguments });
            }
            _ => return self.node(range, 0, Kind::Name(name)),
        };
        self.node(range, 0, Kind::Literal(literal))
    }

    fn list(&mut self, start: usize) -> Result<Expr, Problem> {
        let mut elements = Vec::new();
        while !self.is_sign("]") {
            let optional = self.take_sign("?");
            elements.push(Element { value: self.expression()?, optional });
            if !self.take_sign(",") {
                break;
            }
        }
        let end = self.expect("]")?;
        let below = elements.iter().map(|element| element.value.depth).max().unwrap_or(0);
        self.node(start..end, below, Kind::List(elements))
    }

    fn map(&mut self, start: usize) -> Result<Expr, Problem> {
        let mut entries = Vec::new();
        let mut below = 0;
        while !self.is_sign("}") {
            if self.is_sign("?") {
                return Err(unsupported(
                    self.next().range.clone(),
                    "optional entries of maps are not supported",
                ));
            }
            let key = self.expression()?;
            self.expect(":")?;
            let value = self.expression()?;
            below = below.max(key.depth).max(value.depth);
            entries.push((key, value));
            if !self.take_sign(",") {
                break;
            }
        }
        let end = self.expect("}")?;
        self.node(start..end, below, Kind::Map(entries))
    }
}

fn integer_too_large(range: Range<usize>) -> Problem {
    Problem::new(
        ProblemKind::Syntax,
        range,
        "this integer does not fit an `int`, which has 64 bits with a sign",
    )
}

fn unsupported(range: Range<usize>, message: &str) -> Problem {
    Problem::new(ProblemKind::Unsupported, range, message)
}
